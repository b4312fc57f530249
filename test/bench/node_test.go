package bench

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/test/testenv"
)

// node is a machine's worth of datapath: the programs, loaded and pinned the way
// the daemon does it, and a network namespace with the interfaces that they name.
type node struct {
	maps     *maps.Maps
	programs map[string]*ebpf.Program
	bench    benchObjects

	inside  netns.NsHandle
	client  link // host side of the workload that starts flows
	server  link // host side of the workload that answers them
	other   link // host side of a workload in another network
	uplink  link
	bridge  link
	overlay link // to another node; see addRemote
}

type link struct {
	index uint32
	mac   net.HardwareAddr
}

// The world of a node. Documentation prefixes, RFC 3849.
var (
	nodeAddress     = netip.MustParseAddr("2001:db8:1::10")
	routerAddress   = netip.MustParseAddr("2001:db8:1::1")
	strangerAddress = netip.MustParseAddr("2001:db8:2::2")
	allocation      = netip.MustParsePrefix("2001:db8:aaaa::/48")
	routerMAC       = net.HardwareAddr{2, 0, 0, 0, 0, 1}
)

func newNode(b *testing.B) *node {
	b.Helper()
	testenv.RequireBPF(b)
	n := &node{inside: newNamespace(b)}
	n.wire(b)
	n.load(b)
	check(b, n.maps.SetWatched(false))
	check(b, n.maps.PutPrefixes(map[netip.Prefix]uint32{allocation: maps.PrefixTenant}))
	check(b, n.maps.PutUplink(n.uplink.index, nil))
	check(b, loadBenchObjects(&n.bench, nil))
	b.Cleanup(func() { check(b, n.bench.Close()) })
	return n
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// newNamespace makes a network namespace that is gone with the last handle.
func newNamespace(b *testing.B) netns.NsHandle {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	check(b, err)
	defer func() { check(b, home.Close()) }()
	made, err := netns.New()
	check(b, err)
	b.Cleanup(func() { check(b, made.Close()) })
	defer func() { check(b, netns.Set(home)) }()
	check(b, os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	return made
}

// enter moves the goroutine into the node's namespace until leave is called: a
// run of a program finds the interface that its packet came in by there.
func (n *node) enter(b *testing.B) (leave func()) {
	b.Helper()
	runtime.LockOSThread()
	home, err := netns.Get()
	check(b, err)
	check(b, netns.Set(n.inside))
	return func() {
		check(b, netns.Set(home))
		check(b, home.Close())
		runtime.UnlockOSThread()
	}
}

// wire makes the interfaces, and a way to the world that needs no asking.
func (n *node) wire(b *testing.B) {
	b.Helper()
	h, err := netlink.NewHandleAt(n.inside)
	check(b, err)
	defer h.Close()
	add := func(l netlink.Link) link {
		name := l.Attrs().Name
		check(b, h.LinkAdd(l))
		made, err := h.LinkByName(name)
		check(b, err)
		check(b, h.LinkSetUp(made))
		return link{uint32(made.Attrs().Index), made.Attrs().HardwareAddr}
	}
	veth := func(name string) link {
		return add(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-far"})
	}
	n.client, n.server, n.other, n.uplink = veth("client"), veth("server"), veth("other"), veth("uplink")
	n.bridge = add(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}})

	uplink, err := h.LinkByName("uplink")
	check(b, err)
	far, err := h.LinkByName("uplink-far")
	check(b, err)
	check(b, h.LinkSetUp(far))
	check(b, h.AddrAdd(uplink, &netlink.Addr{IPNet: &net.IPNet{IP: nodeAddress.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}))
	check(b, h.NeighSet(&netlink.Neigh{
		LinkIndex: int(n.uplink.index), Family: unix.AF_INET6, State: netlink.NUD_PERMANENT,
		IP: routerAddress.AsSlice(), HardwareAddr: routerMAC,
	}))
	check(b, h.RouteAdd(&netlink.Route{
		LinkIndex: int(n.uplink.index), Gw: routerAddress.AsSlice(),
		Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}))
}

var entryPoints = []string{"workload_egress", "workload_ingress", "uplink_xdp", "uplink_ingress", "uplink_egress", "overlay_egress"}

// load loads the programs and opens them by their pins.
func (n *node) load(b *testing.B) {
	b.Helper()
	dir := b.TempDir()
	check(b, unix.Mount("bpf", dir, "bpf", 0, ""))
	b.Cleanup(func() { check(b, unix.Unmount(dir, unix.MNT_DETACH)) })
	datapath, err := loader.Open(loader.Options{BPFFS: dir})
	check(b, err)
	b.Cleanup(func() { check(b, datapath.Close()) })
	n.maps = datapath.Maps()
	n.programs = map[string]*ebpf.Program{}
	for _, name := range entryPoints {
		program, err := ebpf.LoadPinnedProgram(filepath.Join(dir, "progs", name), nil)
		check(b, err)
		b.Cleanup(func() { check(b, program.Close()) })
		n.programs[name] = program
	}
}
