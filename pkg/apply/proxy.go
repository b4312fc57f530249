package apply

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

// proxied is an address for which a bridge answers in neighbour discovery: who has it
// is reached through the node, and workloads take it for on-link.
type proxied struct {
	link    int
	address netip.Addr
}

// setProxied makes the bridges' proxy neighbours what is planned. The kernel waits up
// to 0.8 s before it answers for one, unless proxy_delay is 0 (ndisc_recv_ns).
func (p *pass) setProxied() {
	have, err := p.readProxied()
	if p.failIf("proxy neighbours", err) {
		return
	}
	want := map[proxied]bool{}
	for _, n := range p.want.Networks {
		link, exists := p.links.byName[n.Bridge]
		for _, address := range n.Proxied {
			if !exists {
				continue
			}
			entry := proxied{link.Attrs().Index, address}
			want[entry] = true
			if !have[entry] {
				p.change(bridgeObject(n), plan.Modify, "answers for "+address.String(), func() error { return p.addProxied(n.Bridge, entry) })
			}
		}
	}
	for _, entry := range slices.SortedFunc(maps.Keys(have), func(a, b proxied) int {
		return cmp.Or(cmp.Compare(a.link, b.link), a.address.Compare(b.address))
	}) {
		if !want[entry] {
			detail := "no longer answers for " + entry.address.String()
			p.change("bridge "+p.nameOf(uint32(entry.link)), plan.Modify, detail, func() error { return p.removeProxied(entry) })
		}
	}
}

// readProxied gives those of zosnet's bridges.
func (p *pass) readProxied() (map[proxied]bool, error) {
	list, err := dump(func() ([]netlink.Neigh, error) { return p.netlink.NeighProxyList(0, unix.AF_INET6) })
	if err != nil {
		return nil, fmt.Errorf("list proxy neighbours: %w", err)
	}
	have := map[proxied]bool{}
	for _, n := range list {
		address, ok := netip.AddrFromSlice(n.IP)
		if link, exists := p.links.byIndex[n.LinkIndex]; ok && exists && link.Type() == "bridge" && ours(link) {
			have[proxied{n.LinkIndex, address}] = true
		}
	}
	return have, nil
}

func (e proxied) message() *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: e.link, Family: unix.AF_INET6, Flags: netlink.NTF_PROXY, IP: net.IP(e.address.AsSlice())}
}

func (p *pass) addProxied(bridge string, e proxied) error {
	if err := writeSysctl("net/ipv6/neigh/"+bridge+"/proxy_delay", "0"); err != nil {
		return err
	}
	if err := p.netlink.NeighSet(e.message()); err != nil {
		return fmt.Errorf("answer for %s on %s: %w", e.address, bridge, err)
	}
	return nil
}

func (p *pass) removeProxied(e proxied) error {
	if err := p.netlink.NeighDel(e.message()); err != nil && !gone(err) {
		return fmt.Errorf("answer no longer for %s: %w", e.address, err)
	}
	return nil
}
