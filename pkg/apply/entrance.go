package apply

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// plannedEntrance is the WireGuard device of an entrance: a peer for each person's
// device, with its one address, which dials.
func (p *pass) plannedEntrance(e plan.Entrance) (wireguard.Device, error) {
	key, err := ownKey(p.config.Entrances, e.Network, e.PublicKey)
	if err != nil {
		return wireguard.Device{}, err
	}
	device := wireguard.Device{Name: e.Interface, Alias: entranceRole.alias(e.Network), PrivateKey: key, ListenPort: e.Port, MTU: int(e.MTU)}
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
	s := securedEntrance(e)
	if !p.keepGuard(s, have) {
		return
	}
	want, err := p.plannedEntrance(e)
	if p.failIf(s.object, err) {
		return
	}
	p.settleDevice(s, want)
}

// securedEntrance is an entrance as the datapath has it: behind it are ends of its
// network like those behind an overlay, and workloads of other nodes are reached through it.
func securedEntrance(e plan.Entrance) secured {
	return secured{entranceRole.object(e.Network), e.Interface, bpf.Overlay{Network: e.NetworkID, Relay: 1, Entrance: 1}}
}

// removeEntrances takes away the interfaces of entrances that are not planned any more.
func (p *pass) removeEntrances() {
	wanted := map[string]bool{}
	for _, e := range p.want.Entrances {
		wanted[e.Interface] = true
	}
	p.removeSecured(entranceRole, wanted)
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
		return r.kind != unix.RTN_UNICAST || !exists || !entranceRole.of(link)
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
