package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

func entranceObject(network string) string { return "entrance " + network }

func entranceAlias(network string) string { return networkAlias(network) + " entrance" }

func isEntrance(link netlink.Link) bool {
	alias := link.Attrs().Alias
	return strings.HasPrefix(alias, aliasMark) && strings.HasSuffix(alias, " entrance")
}

// plannedEntrance is the WireGuard device of an entrance: a peer for each person's
// device, with its one address, which dials.
func (p *pass) plannedEntrance(e plan.Entrance) (wireguard.Device, error) {
	key, err := p.config.Entrances.Load(e.Network)
	if err != nil {
		return wireguard.Device{}, err
	}
	if key.Public() != wireguard.PublicKey(e.PublicKey) {
		return wireguard.Device{}, fmt.Errorf("its key is %s, and the plan has %s", key.Public(), wireguard.PublicKey(e.PublicKey))
	}
	device := wireguard.Device{Name: e.Interface, Alias: entranceAlias(e.Network), PrivateKey: key, ListenPort: e.Port, MTU: int(e.MTU)}
	for _, d := range p.want.Devices {
		if d.Interface == e.Interface {
			device.Peers = append(device.Peers, wireguard.Peer{PublicKey: d.PublicKey, AllowedIPs: []netip.Prefix{single(d.Address)}})
		}
	}
	return device, nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// makeEntrances gives every entrance its interface. Like an overlay's it comes up when
// its programs are on it.
func (p *pass) makeEntrances() {
	if len(p.want.Entrances) == 0 {
		return
	}
	have, err := p.config.Datapath.Maps().AllOverlays()
	if p.failIf("entrances", err) {
		return
	}
	for _, e := range p.want.Entrances {
		if p.ctx.Err() == nil {
			p.makeEntrance(e, have)
		}
	}
}

func (p *pass) makeEntrance(e plan.Entrance, have map[uint32]bpf.Overlay) {
	object := entranceObject(e.Network)
	link, exists := p.links.byName[e.Interface]
	if exists && !ours(link) {
		p.fail(object, fmt.Errorf("there is a link %s already, which is not zosnet's: rename or remove it", e.Interface))
		return
	}
	if exists && !p.keepEntranceGuard(e, link, have) {
		return
	}
	want, err := p.plannedEntrance(e)
	if p.failIf(object, err) {
		return
	}
	var changes []string
	if !exists {
		if changes, err = p.config.Devices.Prepare(want); err == nil {
			err = p.guardEntrance(e)
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
			action, detail = plan.Add, e.Interface
		}
		p.change(object, action, detail, func() error { return nil })
	}
	if p.failIf(object, err) || len(changes) == 0 {
		return
	}
	_, err = p.links.refresh(p.netlink, e.Interface)
	p.failIf(object, err)
}

// entranceEntry is what the datapath knows of an entrance: behind it are ends of its
// network like those behind an overlay, and workloads of other nodes are reached through it.
func entranceEntry(e plan.Entrance) bpf.Overlay { return bpf.Overlay{Network: e.NetworkID, Relay: 1} }

// guardEntrance puts an interface into the datapath's hands, before it comes up.
func (p *pass) guardEntrance(e plan.Entrance) error {
	link, err := p.links.refresh(p.netlink, e.Interface)
	if err != nil {
		return err
	}
	if _, err := p.config.Datapath.AttachOverlay(e.Interface); err != nil {
		return err
	}
	p.touch(e.NetworkID)
	return p.config.Datapath.Maps().PutOverlay(uint32(link.Attrs().Index), entranceEntry(e))
}

// keepEntranceGuard puts back what an interface that is there has lost. One that
// cannot be guarded is taken down.
func (p *pass) keepEntranceGuard(e plan.Entrance, link netlink.Link, have map[uint32]bpf.Overlay) bool {
	has := p.programs[e.Interface]
	if slices.Contains(has, "overlay_ingress") && slices.Contains(has, "overlay_egress") &&
		have[uint32(link.Attrs().Index)] == entranceEntry(e) {
		return true
	}
	object := entranceObject(e.Network)
	if p.change(object, plan.Modify, "put into the datapath again", func() error { return p.guardEntrance(e) }) {
		return true
	}
	if p.ctx.Err() == nil && isUp(link) {
		p.failIf(object, p.netlink.LinkSetDown(link))
	}
	return false
}

// removeEntrances takes away the interfaces of entrances that are not planned any more.
func (p *pass) removeEntrances() {
	wanted := map[string]bool{}
	for _, e := range p.want.Entrances {
		wanted[e.Interface] = true
	}
	for name, link := range p.links.byName {
		if isEntrance(link) && !wanted[name] {
			network := strings.TrimSuffix(strings.TrimPrefix(link.Attrs().Alias, aliasMark), " entrance")
			p.change(entranceObject(network), plan.Remove, name, func() error { return p.removeOverlay(link) })
		}
	}
}

// setEntranceRoutes makes a route to each device that ends here, and removes those of
// devices that are gone.
func (p *pass) setEntranceRoutes() {
	if len(p.want.Entrances) == 0 {
		return
	}
	have, err := readRoutes(p.strict, RouteProtocol)
	if p.failIf("routes", err) {
		return
	}
	have = slices.DeleteFunc(have, func(r route) bool {
		link, exists := p.links.byIndex[r.link]
		return r.kind != unix.RTN_UNICAST || !exists || !isEntrance(link)
	})
	var want []route
	for _, e := range p.want.Entrances {
		link, exists := p.links.byName[e.Interface]
		if !exists || !isUp(link) {
			continue
		}
		for _, d := range p.want.Devices {
			if d.Interface == e.Interface {
				want = append(want, overlayRoute(single(d.Address), link.Attrs().Index))
			}
		}
	}
	add, remove := compareRoutes(want, have)
	for _, r := range remove {
		p.change(r.object(), plan.Remove, "to an access device", func() error { return p.removeRoute(r) })
	}
	for _, r := range add {
		p.change(r.object(), plan.Add, "to an access device", func() error { return p.addRoute(r) })
	}
}
