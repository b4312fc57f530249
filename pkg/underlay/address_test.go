package underlay

import (
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// TestAddresses: of two uplinks that have all kinds of addresses, and one that is gone.
func TestAddresses(t *testing.T) {
	testenv.RequireRoot(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and its namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for link, addresses := range map[string][]netlink.Addr{
		"u0": {
			{IPNet: ip64("2001:db8:1::3"), ValidLft: 1000, PreferedLft: 1000}, // by DHCP or SLAAC
			{IPNet: ip64("2001:db8:1::4"), ValidLft: 1000},                    // deprecated
			{IPNet: ip64("2001:db8:1::9")},
		},
		"u1": {{IPNet: ip64("2001:db8:2::2")}, {IPNet: ip64("2001:db8:1::2"), ValidLft: 1000, PreferedLft: 1000}},
		"x0": {{IPNet: ip64("2001:db8:3::2")}}, // no uplink
	} {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = link
		ok(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: link + "p"}))
		for _, name := range []string{link, link + "p"} {
			l, err := netlink.LinkByName(name)
			ok(err)
			ok(netlink.LinkSetUp(l))
		}
		l, err := netlink.LinkByName(link)
		ok(err)
		for _, a := range addresses {
			a.Flags = unix.IFA_F_NODAD
			ok(netlink.AddrAdd(l, &a))
		}
	}
	got, err := Addresses([]string{"u0", "gone", "u1"})
	ok(err)
	var want []netip.Addr
	for _, text := range []string{"2001:db8:1::9", "2001:db8:2::2", "2001:db8:1::3", "2001:db8:1::2"} {
		want = append(want, netip.MustParseAddr(text))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func ip64(address string) *net.IPNet {
	return &net.IPNet{IP: net.ParseIP(address), Mask: net.CIDRMask(64, 128)}
}
