package apply

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// routerAddress is the link-local address of every bridge.
var routerAddress = netip.MustParsePrefix("fe80::1/64")

// bridgeSysctls keep a bridge to the addresses that the plan gives it and let it
// route, whatever the machine's defaults say.
var bridgeSysctls = []sysctl{
	{"disable_ipv6", "0"},
	{"addr_gen_mode", "1"}, // none
	{"accept_ra", "0"},
	{"proxy_ndp", "1"}, // answers for what is Proxied
}

// bridge is what the plan decides about a bridge.
type bridge struct {
	alias     string
	mac       string
	mtu       int
	snooping  bool
	spanning  spanning
	addresses []netip.Prefix
}

// plannedSpanning is what a bridge has that nobody has changed: no spanning tree, so
// that a port forwards at once, and the kernel's own delay for one.
var plannedSpanning = spanning{stp: 0, forwardDelay: 1500}

func plannedBridge(n plan.Network) bridge {
	return bridge{
		alias: networkAlias(n.Name), mac: macText(n.BridgeMAC), mtu: int(n.MTU), spanning: plannedSpanning,
		addresses: []netip.Prefix{netip.PrefixFrom(n.Gateway, n.Prefix.Bits()), routerAddress},
	}
}

func observedBridge(link *netlink.Bridge, spanning spanning, addresses []netip.Prefix) bridge {
	a := link.Attrs()
	return bridge{
		alias: a.Alias, mac: a.HardwareAddr.String(), mtu: a.MTU, spanning: spanning, addresses: addresses,
		snooping: link.MulticastSnooping != nil && *link.MulticastSnooping,
	}
}

// compareBridge gives what is to be changed, addresses that should go before those
// that should come.
func compareBridge(want, have bridge) []difference {
	var d []difference
	if have.alias != want.alias {
		d = append(d, difference{"alias", have.alias, want.alias})
	}
	if have.mac != want.mac {
		d = append(d, difference{"mac", have.mac, want.mac})
	}
	if have.mtu != want.mtu {
		d = append(d, difference{"mtu", strconv.Itoa(have.mtu), strconv.Itoa(want.mtu)})
	}
	if have.snooping != want.snooping {
		d = append(d, difference{"multicast snooping", strconv.FormatBool(have.snooping), strconv.FormatBool(want.snooping)})
	}
	if have.spanning.stp != want.spanning.stp {
		d = append(d, difference{"spanning tree", have.spanning.stpText(), want.spanning.stpText()})
	}
	if have.spanning.forwardDelay != want.spanning.forwardDelay {
		d = append(d, difference{"forward delay", have.spanning.delayText(), want.spanning.delayText()})
	}
	for _, a := range have.addresses {
		if !slices.Contains(want.addresses, a) {
			d = append(d, difference{"address", a.String(), ""})
		}
	}
	for _, a := range want.addresses {
		if !slices.Contains(have.addresses, a) {
			d = append(d, difference{"address", "", a.String()})
		}
	}
	return d
}

func bridgeObject(n plan.Network) string { return "bridge " + n.Bridge }

// makeBridge gives a network its bridge, all but up: that comes when the datapath
// knows the network.
func (p *pass) makeBridge(n plan.Network) {
	link, exists := p.links.byName[n.Bridge]
	if exists && !p.mayUse(link, bridgeObject(n), link.Type() == "bridge") {
		return
	}
	link, exists = p.links.byName[n.Bridge]
	if !exists {
		p.change(bridgeObject(n), plan.Add, n.Prefix.String(), func() error { return p.addBridge(n) })
		return
	}
	p.settleBridge(n, link)
}

func (p *pass) addBridge(n plan.Network) error {
	off := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = n.Bridge, int(n.MTU), n.BridgeMAC[:]
	if err := p.netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	link, err := p.links.refresh(p.netlink, n.Bridge)
	if err != nil {
		return err
	}
	if err := setSysctls(n.Bridge, bridgeSysctls); err != nil {
		return err
	}
	for _, d := range compareBridge(plannedBridge(n), observedBridge(link.(*netlink.Bridge), plannedSpanning, nil)) {
		if err := p.setBridge(link, d); err != nil {
			return err
		}
	}
	return nil
}

// settleBridge changes what differs on a bridge that is there.
func (p *pass) settleBridge(n plan.Network, link netlink.Link) {
	differences, err := compareSysctls(n.Bridge, p.links.kept[link.Attrs().Index], bridgeSysctls)
	if err != nil {
		p.fail(bridgeObject(n), err)
		return
	}
	for _, d := range differences {
		p.change(bridgeObject(n), plan.Modify, d.String(), func() error {
			return writeSysctl(interfaceSysctl(n.Bridge, d.property), d.want)
		})
	}
	have := observedBridge(link.(*netlink.Bridge), p.links.spanning(link), p.addresses[link.Attrs().Index])
	for _, d := range compareBridge(plannedBridge(n), have) {
		p.change(bridgeObject(n), plan.Modify, d.String(), func() error { return p.setBridge(link, d) })
	}
}

// setBridge changes one property.
func (p *pass) setBridge(link netlink.Link, d difference) error {
	switch d.property {
	case "alias":
		return p.netlink.LinkSetAlias(link, d.want)
	case "mac":
		mac, err := net.ParseMAC(d.want)
		if err != nil {
			return err
		}
		return p.netlink.LinkSetHardwareAddr(link, mac)
	case "mtu":
		mtu, err := strconv.Atoi(d.want)
		if err != nil {
			return err
		}
		return p.netlink.LinkSetMTU(link, mtu)
	case "multicast snooping":
		return p.setSnooping(link, d.want == "true")
	case "spanning tree", "forward delay":
		return setSpanning(link, plannedSpanning)
	default:
		if d.want == "" {
			return removeAddress(p.netlink, link, netip.MustParsePrefix(d.have))
		}
		return addAddress(p.netlink, link, netip.MustParsePrefix(d.want))
	}
}

// setSnooping names nothing but that: a message with all that was read of the bridge
// is refused.
func (p *pass) setSnooping(link netlink.Link, on bool) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = link.Attrs().Name, link.Attrs().Index
	return p.netlink.LinkModify(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &on})
}

// raiseBridge brings a bridge up. The kernel restores the /64's route as it does.
func (p *pass) raiseBridge(n plan.Network) {
	link, exists := p.links.byName[n.Bridge]
	if !exists || isUp(link) {
		return
	}
	up := func() error {
		if err := p.netlink.LinkSetUp(link); err != nil {
			return err
		}
		_, err := p.links.refresh(p.netlink, n.Bridge)
		return err
	}
	if p.made[bridgeObject(n)] {
		p.failIf(bridgeObject(n), up())
		return
	}
	p.change(bridgeObject(n), plan.Modify, "up", up)
}

// removeBridges deletes bridges that no network has.
func (p *pass) removeBridges() {
	wanted := map[string]bool{}
	for _, n := range p.want.Networks {
		wanted[n.Bridge] = true
	}
	for name, link := range p.links.byName {
		if link.Type() == "bridge" && ours(link) && !wanted[name] {
			network := strings.TrimPrefix(link.Attrs().Alias, aliasMark)
			p.change("bridge "+name, plan.Remove, network, func() error { return p.removeLink(link) })
		}
	}
}
