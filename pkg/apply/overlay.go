package apply

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// overlayMetric is that of the routes to other nodes' /64s, as of any route that
// somebody makes by hand (IP6_RT_PRIO_USER).
const overlayMetric = 1024

func overlayObject(network string) string { return "overlay " + network }

// overlayAlias tells an overlay's interface from a bridge and from a workload, whose
// name holds no space.
func overlayAlias(network string) string { return networkAlias(network) + " overlay" }

func isOverlay(link netlink.Link) bool {
	alias := link.Attrs().Alias
	return strings.HasPrefix(alias, aliasMark) && strings.HasSuffix(alias, " overlay")
}

// plannedDevice is the WireGuard device of an overlay. Its key must be the one that
// was published.
func (p *pass) plannedDevice(o plan.Overlay) (wireguard.Device, error) {
	key, err := p.config.Keys.Load(wireguard.KeyName(o.Network, o.Generation))
	if err != nil {
		return wireguard.Device{}, err
	}
	if key.Public() != wireguard.PublicKey(o.PublicKey) {
		return wireguard.Device{}, fmt.Errorf("its key is %s, and the plan has %s", key.Public(), wireguard.PublicKey(o.PublicKey))
	}
	d := wireguard.Device{Name: o.Interface, Alias: overlayAlias(o.Network), PrivateKey: key, ListenPort: o.Port, MTU: int(o.MTU)}
	for _, peer := range o.Peers {
		d.Peers = append(d.Peers, wireguard.Peer{
			PublicKey: peer.PublicKey, Endpoint: peer.Endpoint, AllowedIPs: peer.AllowedIPs,
			Keepalive: time.Duration(peer.Keepalive) * time.Second,
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
	object := overlayObject(o.Network)
	if link, exists := p.links.byName[o.Interface]; exists {
		if !ours(link) {
			p.fail(object, fmt.Errorf("there is a link %s already, which is not zosnet's: rename or remove it", o.Interface))
			return
		}
		if !p.keepGuard(o, link, have) {
			return
		}
		if !due && p.settled.overlay(o) && link.Attrs().Alias == overlayAlias(o.Network) && link.Attrs().MTU == int(o.MTU) && isUp(link) {
			return
		}
	}
	p.settleOverlay(o)
}

// settleOverlay makes a device what it should be.
func (p *pass) settleOverlay(o plan.Overlay) {
	object, begin := overlayObject(o.Network), time.Now()
	delete(p.settled.overlays, o.Interface)
	want, err := p.plannedDevice(o)
	if p.failIf(object, err) {
		return
	}
	var changes []string
	if _, exists := p.links.byName[o.Interface]; !exists {
		if changes, err = p.config.Devices.Prepare(want); err == nil {
			err = p.guardOverlay(o)
		}
	}
	if err == nil {
		var more []string
		more, err = p.config.Devices.Apply(want)
		changes = append(changes, more...)
	}
	for _, detail := range changes {
		action := plan.Modify
		if detail == "created" {
			action, detail = plan.Add, o.Interface
		}
		p.change(object, action, detail, func() error { return nil })
	}
	if err != nil {
		p.fail(object, err)
		return
	}
	if len(changes) == 0 {
		p.reads.took(time.Since(begin))
	} else if _, err = p.links.refresh(p.netlink, o.Interface); p.failIf(object, err) {
		return
	}
	p.settled.overlays[o.Interface] = o
}

// guardOverlay puts an interface into the datapath's hands, before it comes up.
func (p *pass) guardOverlay(o plan.Overlay) error {
	link, err := p.links.refresh(p.netlink, o.Interface)
	if err != nil {
		return err
	}
	if _, err := p.config.Datapath.AttachOverlay(o.Interface); err != nil {
		return err
	}
	p.touch(o.NetworkID)
	return p.config.Datapath.Maps().PutOverlay(uint32(link.Attrs().Index), overlayEntry(o))
}

func overlayEntry(o plan.Overlay) bpf.Overlay {
	entry := bpf.Overlay{Network: o.NetworkID}
	if o.Relay {
		entry.Relay = 1
	}
	return entry
}

// keepGuard puts back what an interface that is there has lost. One that cannot be
// guarded is taken down.
func (p *pass) keepGuard(o plan.Overlay, link netlink.Link, have map[uint32]bpf.Overlay) bool {
	has := p.programs[o.Interface]
	if slices.Contains(has, "overlay_ingress") && slices.Contains(has, "overlay_egress") &&
		have[uint32(link.Attrs().Index)] == overlayEntry(o) {
		return true
	}
	object := overlayObject(o.Network)
	if p.change(object, plan.Modify, "put into the datapath again", func() error { return p.guardOverlay(o) }) {
		return true
	}
	if p.ctx.Err() == nil && isUp(link) {
		p.failIf(object, p.netlink.LinkSetDown(link))
	}
	return false
}

// removeOverlays takes away the interfaces of overlays that are not planned any
// more, and what the datapath has of those that are gone.
func (p *pass) removeOverlays() {
	wanted := map[string]bool{}
	for _, o := range p.want.Overlays {
		wanted[o.Interface] = true
	}
	for name, link := range p.links.byName {
		if isOverlay(link) && !wanted[name] {
			network := strings.TrimSuffix(strings.TrimPrefix(link.Attrs().Alias, aliasMark), " overlay")
			p.change(overlayObject(network), plan.Remove, name, func() error { return p.removeOverlay(link) })
		}
	}
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

func (p *pass) removeOverlay(link netlink.Link) error {
	name := link.Attrs().Name
	if err := p.config.Devices.Remove(name); err != nil {
		return err
	}
	p.links.drop(link)
	if err := p.config.Datapath.DetachOverlay(name); err != nil {
		return err
	}
	return p.config.Datapath.Maps().DeleteOverlay(uint32(link.Attrs().Index))
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
		return r.kind != unix.RTN_UNICAST || !exists || !isOverlay(link)
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
