package apply

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

var two = grid{networks: []string{"acme", "beta"}, attachments: []plan.Attachment{
	netns("acme", "web-1", 256), netns("acme", "web-2", 257), netns("beta", "web-1", 256), tap("beta", "vm", "vm0", 258),
}}

func TestApply(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n, s := startNode(t), two.state(t)
	acme := s.Networks[0]

	n.apply(s)
	n.unchanged(s)

	bridge := link(t, acme.Bridge)
	addresses, err := readAddresses(handle(t))
	check(t, err)
	want := []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa:1::1/64"), routerAddress}
	if got := addresses[bridge.Attrs().Index]; !sameSet(got, want) {
		t.Errorf("bridge has %v, want %v", got, want)
	}
	if got := bridge.Attrs().Alias; got != "zosnet acme" {
		t.Errorf("bridge is called %q", got)
	}
	routes := dumpKernel(t)
	for _, route := range []string{
		"2001:db8:aaaa:1::/64 dev " + acme.Bridge, "unreachable 2001:db8:aaaa::/48",
	} {
		if !strings.Contains(routes, route) {
			t.Errorf("no route %q in\n%s", route, routes)
		}
	}
	converse(t, "/run/netns/acme.web-1", "/run/netns/acme.web-2", ofTenants(s)[1].Address)
	n.restart()
	n.unchanged(s)
	converse(t, "/run/netns/acme.web-2", "/run/netns/acme.web-1", ofTenants(s)[0].Address)
}

// converse has a client in one namespace fetch a word from a server in another.
func converse(t *testing.T, client, server string, address netip.Addr) {
	t.Helper()
	var listener net.Listener
	in(t, server, func(*netlink.Handle) (err error) {
		listener, err = net.Listen("tcp6", netip.AddrPortFrom(address, 0).String())
		return err
	})
	defer func() { _ = listener.Close() }()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			_, _ = conn.Write([]byte("hello"))
			_ = conn.Close()
		}
	}()
	in(t, client, func(*netlink.Handle) error {
		conn, err := dial(listener.Addr().(*net.TCPAddr))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		word := make([]byte, 5)
		if _, err := conn.Read(word); err != nil || string(word) != "hello" {
			return fmt.Errorf("heard %q: %w", word, err)
		}
		return nil
	})
}

// dial connects from the calling thread's namespace, which net.Dial may leave for
// another thread.
func dial(to *net.TCPAddr) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "client")
	defer func() { _ = file.Close() }()
	timeout := unix.NsecToTimeval(int64(20 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet6{Addr: [16]byte(to.IP.To16()), Port: to.Port}); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	return net.FileConn(file)
}

// handle gives a netlink handle in the test's namespace.
func handle(t *testing.T) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	check(t, err)
	t.Cleanup(h.Close)
	return h
}

func sameSet(a, b []netip.Prefix) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	order := func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.Equal(a, b)
}

// TestRemove: what a network made goes with it, and nothing else does.
func TestRemove(t *testing.T) {
	if elsewhere(t) {
		return
	}
	addForeign(t)
	n := startNode(t)
	none := grid{}.state(t)
	none.Prefixes = nil
	n.apply(none)
	before := dumpKernel(t)
	pins := len(pinsOf(t, n))

	all, fewer := two.state(t), grid{networks: []string{"acme"}, attachments: two.attachments[:1]}.state(t)
	n.apply(all)
	n.apply(fewer)
	left := dumpKernel(t)
	for _, gone := range []string{"zosnet beta", "acme/web-2", "beta.web-1", "vm0", "2001:db8:aaaa:2:"} {
		if strings.Contains(left, gone) {
			t.Errorf("%s stayed:\n%s", gone, left)
		}
	}
	converse(t, "/run/netns/acme.web-1", "/run/netns/acme.web-1", ofTenants(fewer)[0].Address)
	n.unchanged(fewer)

	n.apply(none)
	n.unchanged(none)
	if diff := cmp.Diff(before, dumpKernel(t)); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
	if now := pinsOf(t, n); len(now) != pins {
		t.Errorf("pinned links stayed: %v", now)
	}
	ports, err := n.datapath.Maps().AllPorts()
	check(t, err)
	bound, err := n.datapath.Maps().AllBindings()
	check(t, err)
	if len(ports)+len(bound) != 0 {
		t.Errorf("the datapath still knows ports %v and bindings %v", ports, bound)
	}
}

func pinsOf(t *testing.T, n *node) []os.DirEntry {
	t.Helper()
	pins, err := os.ReadDir(n.bpffs() + "/links")
	check(t, err)
	return pins
}

// addForeign makes what somebody else could have: links of every kind, routes of
// ours and their own form, a namespace with a dot, a forwarding sysctl.
func addForeign(t *testing.T) {
	t.Helper()
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("br0")}))
	check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("zbridge")}))
	veth := netlink.NewVeth(attrs("zw-veth"))
	veth.PeerName = "other"
	check(t, netlink.LinkAdd(veth))
	check(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs("tap7"), Mode: netlink.TUNTAP_MODE_TAP, Flags: tapFlags}))
	check(t, netlink.LinkSetAlias(link(t, "br0"), "somebody's"))
	check(t, netlink.LinkSetMaster(link(t, "zw-veth"), link(t, "br0")))
	check(t, netlink.LinkSetUp(link(t, "br0")))
	check(t, addAddress(handle(t), link(t, "br0"), netip.MustParsePrefix("2001:db8:1::1/64")))
	for _, r := range []netlink.Route{
		{Dst: ipNet(netip.MustParsePrefix("2001:db8:2::/48")), Type: unix.RTN_UNREACHABLE},
		{Dst: ipNet(netip.MustParsePrefix("2001:db8:aaaa::/48")), Type: unix.RTN_BLACKHOLE, Priority: 9000},
		{Dst: ipNet(netip.MustParsePrefix("2001:db8:3::/48")), LinkIndex: link(t, "br0").Attrs().Index},
	} {
		check(t, netlink.RouteAdd(&r))
	}
	check(t, makeNamespace(namespaceDir+"/some.body", "zosnet some/body of net:1"))
	check(t, writeSysctl(interfaceSysctl("br0", "forwarding"), "1"))
}

// TestForwarding: the node routes while it has networks, and its uplinks go on
// listening to RAs; then everything is as before.
func TestForwarding(t *testing.T) {
	if elsewhere(t) {
		return
	}
	addForeign(t)
	check(t, writeSysctl(interfaceSysctl("other", "accept_ra"), "1"))
	values := func() string {
		var text []string
		for _, name := range []string{"all/forwarding", "default/forwarding", "br0/forwarding", "up0/forwarding", "up0/accept_ra", "other/accept_ra"} {
			value, err := readSysctl("net/ipv6/conf/" + name)
			check(t, err)
			text = append(text, name+"="+value)
		}
		return strings.Join(text, " ")
	}
	before := values()
	n := startNode(t)
	n.apply(two.state(t))
	if got, want := values(), "all/forwarding=1 default/forwarding=1 br0/forwarding=1 up0/forwarding=1 up0/accept_ra=2 other/accept_ra=1"; got != want {
		t.Errorf("with networks\n%s, want\n%s", got, want)
	}
	n.restart()
	n.apply(grid{}.state(t))
	if got := values(); got != before {
		t.Errorf("without networks\n%s, before\n%s", got, before)
	}
}

// cut is a context that ends after its Err was asked so often, which a pass does
// before each change.
type cut struct {
	context.Context
	after int
}

func (c *cut) Err() error {
	if c.after--; c.after < 0 {
		return context.Canceled
	}
	return nil
}

// TestUnfinished: wherever an Apply is cut short, the next one finishes it, on the
// way up and down, also by a daemon that knows nothing of the first.
func TestUnfinished(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	full := grid{networks: []string{"acme"}, attachments: []plan.Attachment{netns("acme", "web-1", 256), tap("acme", "vm", "vm0", 258)}}.state(t)
	none := grid{}.state(t)
	n.apply(none)
	empty := dumpKernel(t)
	n.apply(full)
	whole := dumpKernel(t)
	n.apply(none)
	steps := func(from, to plan.State, want string) {
		for after, done := 0, false; !done; after++ {
			n.apply(from)
			_, err := n.Apply(&cut{t.Context(), after}, to)
			done = err == nil
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("cut after %d: %v", after, err)
			}
			if after%5 == 0 {
				n.restart()
			}
			n.apply(to)
			if diff := cmp.Diff(want, dumpKernel(t)); diff != "" {
				t.Fatalf("cut after %d and finished (-whole +finished):\n%s", after, diff)
			}
			n.unchanged(to)
		}
	}
	steps(none, full, whole)
	steps(full, none, empty)
}
