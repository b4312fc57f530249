package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// member is a node of the network acme, with one workload, and with an interface to
// the other node. It is a tun interface, which is as WireGuard's to all that is above:
// packets without a link header.
type member struct {
	t        *testing.T
	host     *lab.Machine
	inside   *lab.Machine // the workload's namespace
	bpffs    string
	datapath *loader.Datapath
	tun      *os.File
	prefix   netip.Prefix
	address  netip.Addr // the workload's
	overlay  uint32     // index of the interface
	port     uint32
	policy   uint32 // version
}

const (
	overlayName = "zwacme"
	overlayMTU  = 1420
)

var workloadMAC = maps.MAC{Bytes: [6]byte{2, 0, 0, 0, 1, 1}}

// newMachineOf makes a namespace that goes with the test.
func newMachineOf(t *testing.T, name string) *lab.Machine {
	t.Helper()
	made := make(chan netns.NsHandle)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		handle, err := netns.New()
		if err != nil {
			t.Error(err)
		}
		made <- handle
	}()
	handle := <-made
	if !handle.IsOpen() {
		t.FailNow()
	}
	t.Cleanup(func() { _ = handle.Close() })
	m := lab.NewMachine(name, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), handle))
	must(t, m.Sysctl("net/ipv6/conf/all/forwarding", "1"))
	must(t, m.Sysctl("net/ipv6/conf/default/accept_dad", "0"))
	must(t, m.Sysctl("net/ipv6/icmp/ratelimit", "0"))
	return m
}

func newMember(t *testing.T, name string, block netip.Prefix, mtu int) *member {
	t.Helper()
	testenv.RequireBPF(t)
	n := &member{t: t, host: newMachineOf(t, name), inside: newMachineOf(t, name+".workload"), bpffs: t.TempDir()}
	a := block.Addr().As16()
	a[7] = acme
	n.prefix = netip.PrefixFrom(netip.AddrFrom16(a), 64)
	a[14] = 1
	n.address = netip.AddrFrom16(a)
	must(t, unix.Mount("bpf", n.bpffs, "bpf", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(n.bpffs, unix.MNT_DETACH)) })
	n.wire()
	n.tun = n.openTun(mtu)
	n.open()
	t.Cleanup(func() { must(t, n.datapath.Close()) })
	m := n.datapath.Maps()
	must(t, m.PutPrefixes(map[netip.Prefix]uint32{block: maps.PrefixTenant, netip.PrefixFrom(block.Addr(), 64): maps.PrefixNode}))
	must(t, m.PutPort(n.port, maps.Port{Network: acme, Service: n.service(), Workload: 1, Kind: maps.PortVeth, Mac: workloadMAC}))
	must(t, m.PutOverlay(n.overlay, maps.Overlay{Network: acme}))
	must(t, n.host.Do(func() error {
		_, err := n.datapath.AttachWorkload("zwport")
		if err == nil {
			_, err = n.datapath.AttachOverlay(overlayName)
		}
		return err
	}))
	return n
}

// open loads the datapath, as a daemon does that starts.
func (n *member) open() {
	n.t.Helper()
	must(n.t, n.host.Do(func() (err error) {
		n.datapath, err = loader.Open(loader.Options{BPFFS: n.bpffs})
		return err
	}))
}

// service is web on the first node, db on the second.
func (n *member) service() uint32 {
	if n.host.Name == "n1" {
		return serviceWeb
	}
	return serviceDB
}

func (n *member) gateway() netip.Addr { return n.prefix.Addr().Next() }

// wire makes the bridge with the network's gateway, and the workload on it.
func (n *member) wire() {
	h, err := n.host.Netlink()
	must(n.t, err)
	defer h.Close()
	must(n.t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "zbacme", HardwareAddr: gatewayMAC.Bytes[:]}}))
	must(n.t, h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "zwport"}, PeerName: "eth0", PeerHardwareAddr: workloadMAC.Bytes[:]}))
	bridge := linkNamed(n.t, h, "zbacme")
	port := linkNamed(n.t, h, "zwport")
	n.port = uint32(port.Attrs().Index)
	must(n.t, h.LinkSetMaster(port, bridge))
	handle, err := netns.GetFromPath(n.inside.Path())
	must(n.t, err)
	defer func() { _ = handle.Close() }()
	must(n.t, h.LinkSetNsFd(linkNamed(n.t, h, "eth0"), int(handle)))
	must(n.t, h.LinkSetUp(port))
	must(n.t, h.LinkSetUp(bridge))
	addressOn(n.t, h, bridge, netip.PrefixFrom(n.gateway(), 64))

	in, err := n.inside.Netlink()
	must(n.t, err)
	defer in.Close()
	eth0 := linkNamed(n.t, in, "eth0")
	must(n.t, in.LinkSetUp(linkNamed(n.t, in, "lo")))
	must(n.t, in.LinkSetUp(eth0))
	addressOn(n.t, in, eth0, netip.PrefixFrom(n.address, 64))
	must(n.t, in.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: n.gateway().AsSlice(), Dst: everywhere}))
	must(n.t, in.NeighSet(&netlink.Neigh{LinkIndex: eth0.Attrs().Index, Family: unix.AF_INET6, IP: n.gateway().AsSlice(),
		State: netlink.NUD_PERMANENT, HardwareAddr: gatewayMAC.Bytes[:]}))
	must(n.t, h.NeighSet(&netlink.Neigh{LinkIndex: bridge.Attrs().Index, Family: unix.AF_INET6, IP: n.address.AsSlice(),
		State: netlink.NUD_PERMANENT, HardwareAddr: workloadMAC.Bytes[:]}))
}

var everywhere = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}

func linkNamed(t *testing.T, h *netlink.Handle, name string) netlink.Link {
	t.Helper()
	link, err := h.LinkByName(name)
	must(t, err)
	return link
}

func addressOn(t *testing.T, h *netlink.Handle, link netlink.Link, p netip.Prefix) {
	t.Helper()
	must(t, h.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}, Flags: unix.IFA_F_NODAD}))
}

// openTun makes the interface to the other node: what is written into the file comes
// in there, and what goes out is read from it. It goes with the file.
func (n *member) openTun(mtu int) *os.File {
	n.t.Helper()
	file, index := n.openOverlay(overlayName, mtu)
	n.overlay = index
	return file
}

func (n *member) openOverlay(name string, mtu int) (file *os.File, index uint32) {
	n.t.Helper()
	must(n.t, n.host.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		file = os.NewFile(uintptr(fd), name) // only now can it be waited for
		return err
	}))
	n.t.Cleanup(func() { _ = file.Close() })
	must(n.t, n.host.Sysctl("net/ipv6/conf/"+name+"/addr_gen_mode", "1")) // WireGuard's has no address either
	h, err := n.host.Netlink()
	must(n.t, err)
	defer h.Close()
	link := linkNamed(n.t, h, name)
	must(n.t, h.LinkSetMTU(link, mtu))
	must(n.t, h.LinkSetUp(link))
	return file, uint32(link.Attrs().Index)
}

// route leads to the other node.
func (n *member) route(other netip.Prefix) {
	n.t.Helper()
	h, err := n.host.Netlink()
	must(n.t, err)
	defer h.Close()
	must(n.t, h.RouteReplace(&netlink.Route{LinkIndex: int(n.overlay),
		Dst: &net.IPNet{IP: other.Addr().AsSlice(), Mask: net.CIDRMask(other.Bits(), 128)}}))
}

// knows tells the datapath who has which address.
func (n *member) knows(other *member) {
	n.t.Helper()
	_, err := n.datapath.Maps().SetBindings(acme, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(n.address, acme): {
			Network: acme, Service: n.service(), Workload: 1, Ifindex: n.port, Kind: maps.PortVeth, Mac: workloadMAC,
		},
		maps.BindingOf(other.address, acme): {Network: acme, Service: other.service(), Ifindex: n.overlay, Kind: maps.PortOverlay},
	})
	must(n.t, err)
}

// apply puts a document of acme's in force.
func (n *member) apply(document string) {
	n.t.Helper()
	doc, _, err := spec.DecodeNetwork("test.yaml", []byte(document))
	must(n.t, err)
	program, err := policy.Compile(doc, policy.IDs{Network: acme, Services: map[string]uint32{"web": serviceWeb, "db": serviceDB}, Access: map[string]uint32{"alice": serviceAlice}})
	must(n.t, err)
	n.policy++
	m := n.datapath.Maps()
	must(n.t, m.PutPolicy(acme, n.policy, program))
	h, err := n.host.Netlink()
	must(n.t, err)
	defer h.Close()
	must(n.t, m.PutNetwork(acme, maps.Network{Gateway: maps.AddressOf(n.gateway()), Generation: n.policy, Policy: n.policy,
		Flags: maps.NetworkHasCIDRs, Bridge: uint32(linkNamed(n.t, h, "zbacme").Attrs().Index), FlowSets: 64, GatewayMac: gatewayMAC, Mtu: 1500}))
	must(n.t, m.DeletePolicy(acme, n.policy))
}

// drops gives how many packets the node has dropped for a reason, as acme's.
func (n *member) drops(reason string) (count uint64) {
	n.t.Helper()
	all, err := n.datapath.Maps().ReadDrops()
	must(n.t, err)
	for key, c := range all {
		if key.Network == acme && maps.DropReason(key.Reason).String() == reason {
			count += c.Packets
		}
	}
	return count
}

// underlay is the wire between two nodes.
type underlay struct {
	ends  sync.WaitGroup
	mu    sync.Mutex
	taken [][]byte // packets that were on it
}

const mostTaken = 100_000

// join carries packets between two nodes' overlays until the test ends.
func join(t *testing.T, a, b *member) *underlay {
	t.Helper()
	u := &underlay{}
	u.ends.Add(2)
	go u.carry(a.tun, b.tun)
	go u.carry(b.tun, a.tun)
	t.Cleanup(func() {
		_, _ = a.tun.Close(), b.tun.Close()
		u.ends.Wait()
	})
	return u
}

func (u *underlay) carry(from, to *os.File) {
	defer u.ends.Done()
	buffer := make([]byte, 65536)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		u.mu.Lock()
		if len(u.taken) < mostTaken {
			u.taken = append(u.taken, append([]byte(nil), buffer[:min(n, 200)]...))
		}
		u.mu.Unlock()
		if _, err := to.Write(buffer[:n]); errors.Is(err, fs.ErrClosed) {
			return
		}
	}
}

// find waits for a packet on the wire.
func (u *underlay) find(t *testing.T, what string, match func(p []byte) bool) []byte {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		u.mu.Lock()
		for _, p := range u.taken {
			if match(p) {
				u.mu.Unlock()
				return p
			}
		}
		u.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("%s was not on the wire", what)
		}
	}
}

// synSize gives the maximum segment size that a SYN announces as its first option, as
// Linux does.
func synSize(p []byte) uint16 { return binary.BigEndian.Uint16(p[62:]) }

func isSYN(p []byte, answer bool) bool {
	const syn, ack = 0x02, 0x10
	return len(p) >= 64 && p[6] == unix.IPPROTO_TCP && p[53]&syn != 0 && (p[53]&ack != 0) == answer && p[60] == 2
}
