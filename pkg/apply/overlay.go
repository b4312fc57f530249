package apply

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// overlayMetric is that of the routes to other nodes' /64s, as of any route that
// somebody makes by hand (IP6_RT_PRIO_USER).
const overlayMetric = 1024

// plannedDevice is the WireGuard device of an overlay.
func (p *pass) plannedDevice(o plan.Overlay) (wireguard.Device, error) {
	key, err := ownKey(p.config.Keys, wireguard.KeyName(o.Network, o.Generation), o.PublicKey)
	if err != nil {
		return wireguard.Device{}, err
	}
	d := wireguard.Device{Name: o.Interface, Alias: overlayRole.alias(o.Network), PrivateKey: key, ListenPort: o.Port, MTU: int(o.MTU)}
	for _, peer := range o.Peers {
		d.Peers = append(d.Peers, wireguard.Peer{
			PublicKey: peer.PublicKey, Endpoint: peer.Endpoint, AllowedIPs: peer.AllowedIPs,
			Keepalive: time.Duration(peer.Keepalive) * time.Second, Gone: peer.Gone,
		})
	}
	return d, nil
}

// makeOverlays gives every overlay its interface and its routes. An interface comes
// up when its programs are on it.
func (p *pass) makeOverlays() {
	if len(p.want.Overlays) == 0 {
		return
	}
	have, err := p.config.Datapath.Maps().AllOverlays()
	if p.failIf("overlays", err) {
		return
	}
	due := p.due(&p.reads, len(p.want.Overlays))
	for i, o := range p.want.Overlays {
		if p.ctx.Err() == nil {
			p.makeOverlay(o, have, due(i))
		}
	}
}

// makeOverlay looks into a device that was made already only if that is due: what
// somebody changes in it shows nowhere else, and there may be hundreds.
func (p *pass) makeOverlay(o plan.Overlay, have map[uint32]bpf.Overlay, due bool) {
	if !p.keepGuard(securedOverlay(o), have) {
		return
	}
	if link, exists := p.links.byName[o.Interface]; exists && !due && p.settled.overlay(o) &&
		link.Attrs().Alias == overlayRole.alias(o.Network) && link.Attrs().MTU == int(o.MTU) && isUp(link) {
		return
	}
	p.settleOverlay(o)
}

// settleOverlay makes a device what it should be.
func (p *pass) settleOverlay(o plan.Overlay) {
	s, begin := securedOverlay(o), time.Now()
	delete(p.settled.overlays, o.Interface)
	want, err := p.plannedDevice(o)
	if p.failIf(s.object, err) {
		return
	}
	changed, ok := p.settleDevice(s, want)
	if !ok {
		return
	}
	if !changed {
		p.reads.took(time.Since(begin))
	}
	p.settled.overlays[o.Interface] = o
}

// securedOverlay is an overlay as the datapath has it.
func securedOverlay(o plan.Overlay) secured {
	entry := bpf.Overlay{Network: o.NetworkID}
	if o.Relay {
		entry.Relay = 1
	}
	return secured{overlayRole.object(o.Network), o.Interface, entry}
}

// removeOverlays takes away the interfaces of overlays that are not planned any
// more, and what the datapath has of those that are gone.
func (p *pass) removeOverlays() {
	wanted := map[string]bool{}
	for _, o := range p.want.Overlays {
		wanted[o.Interface] = true
	}
	p.removeSecured(overlayRole, wanted)
	have, err := p.config.Datapath.Maps().AllOverlays()
	if p.failIf("overlays", err) {
		return
	}
	for _, index := range slices.Sorted(maps.Keys(have)) {
		if _, exists := p.links.byIndex[int(index)]; !exists {
			p.change("overlay "+p.nameOf(index), plan.Remove, "", func() error { return p.config.Datapath.Maps().DeleteOverlay(index) })
		}
	}
}

// setOverlayRoutes makes the routes to the /64s behind the overlays that are up, and
// removes those that nobody is behind any more. One that moves to another overlay is
// replaced in one step: every packet has a route.
func (p *pass) setOverlayRoutes() {
	have, err := readRoutes(p.strict, RouteProtocol)
	if p.failIf("routes", err) {
		return
	}
	have = slices.DeleteFunc(have, func(r route) bool {
		link, exists := p.links.byIndex[r.link]
		return r.kind != unix.RTN_UNICAST || !exists || !overlayRole.of(link)
	})
	p.changeOverlayRoutes(compareRoutes(p.behind(p.want.Overlays), have))
}

// changeOverlayRoutes replaces a route that moves to another overlay in one step: every
// packet has one.
func (p *pass) changeOverlayRoutes(add, remove []route) {
	replaced := map[netip.Prefix]bool{}
	for _, r := range add {
		detail := "to its overlay " + p.nameOf(uint32(r.link))
		replaced[r.prefix] = p.change(r.object(), plan.Add, detail, func() error { return p.addRoute(r) })
	}
	for _, r := range remove {
		if !replaced[r.prefix] { // what one pass leaves beside a replaced one the next removes
			p.change(r.object(), plan.Remove, "to an overlay", func() error { return p.removeRoute(r) })
		}
	}
}

// behind gives the routes to what is behind overlays, as far as those are up.
func (p *pass) behind(overlays []plan.Overlay) []route {
	var routes []route
	for _, o := range overlays {
		link, exists := p.links.byName[o.Interface]
		if !exists || !isUp(link) {
			continue
		}
		for _, peer := range o.Peers {
			if peer.Standby {
				continue
			}
			for _, prefix := range peer.AllowedIPs {
				routes = append(routes, overlayRoute(prefix, link.Attrs().Index))
			}
		}
	}
	return routes
}

func overlayRoute(prefix netip.Prefix, link int) route {
	return route{prefix: prefix, kind: unix.RTN_UNICAST, metric: overlayMetric, link: link, protocol: RouteProtocol}
}
