package apply

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func addAddress(h *netlink.Handle, link netlink.Link, prefix netip.Prefix) error {
	err := h.AddrReplace(link, &netlink.Addr{IPNet: ipNet(prefix), Flags: unix.IFA_F_NODAD})
	if err != nil {
		return fmt.Errorf("add address %s to %s: %w", prefix, link.Attrs().Name, err)
	}
	return nil
}

func removeAddress(h *netlink.Handle, link netlink.Link, prefix netip.Prefix) error {
	err := h.AddrDel(link, &netlink.Addr{IPNet: ipNet(prefix)})
	if err != nil && !gone(err) {
		return fmt.Errorf("remove address %s from %s: %w", prefix, link.Attrs().Name, err)
	}
	return nil
}

func macText(mac [6]byte) string { return net.HardwareAddr(mac[:]).String() }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf gives an address or destination that netlink named; nil is ::/0.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr, bits)
}

// readAddresses gives every IPv6 address of the namespace, by interface index.
func readAddresses(h *netlink.Handle) (map[int][]netip.Prefix, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	addresses := map[int][]netip.Prefix{}
	for _, a := range list {
		addresses[a.LinkIndex] = append(addresses[a.LinkIndex], prefixOf(a.IPNet))
	}
	return addresses, nil
}
