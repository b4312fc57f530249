package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/test/testenv"
)

// The networks of every test: acme (web, db and a VM of the service vms) and
// globex (api).
const (
	acme, globex                                 = 1, 2
	serviceWeb, serviceDB, serviceVM, serviceAPI = 1, 2, 3, 11
)

type workload struct {
	network, service, host uint32
	address                netip.Addr // the zero Addr for a VM
	mac                    maps.MAC
	ifindex                uint32
	tap                    bool
}

type machine struct {
	t        *testing.T
	datapath *loader.Datapath
	maps     *maps.Maps
	programs map[string]*ebpf.Program
	uplink   uint32
	bridge   map[uint32]uint32
	policies map[uint32]uint32 // version by network
	blamed   uint32            // network that the last drop was counted for
	mark     uint32            // that the last packet was left with
	segment  uint32            // bytes that the next packets are to be cut into (GSO); 0: not at all

	web, db, vm, api *workload
}

const (
	worldAddress = "2001:db8:ffff::5"
	hostAddress  = "2001:db8:1::10"
)

var (
	routerMAC  = maps.MAC{Bytes: [6]byte{2, 0, 0, 0, 0, 0x99}}
	gatewayMAC = maps.MAC{Bytes: [6]byte{2, 0, 0, 0, 0, 0xfe}}
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newMachine makes a node in a network namespace of the test's own.
func newMachine(t *testing.T, acmeDocument, globexDocument string) *machine {
	t.Helper()
	testenv.RequireBPF(t)
	runtime.LockOSThread() // the thread ends with the test, the namespace with the thread
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	dir := t.TempDir()
	must(t, unix.Mount("bpf", dir, "bpf", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	m := &machine{t: t, programs: map[string]*ebpf.Program{}, bridge: map[uint32]uint32{}, policies: map[uint32]uint32{}}
	var err error
	m.datapath, err = loader.Open(loader.Options{BPFFS: dir})
	must(t, err)
	t.Cleanup(func() { must(t, m.datapath.Close()) })
	m.maps = m.datapath.Maps()
	for _, name := range []string{"uplink_xdp", "uplink_ingress", "uplink_egress", "workload_egress", "workload_ingress"} {
		program, err := ebpf.LoadPinnedProgram(filepath.Join(dir, "progs", name), nil)
		must(t, err)
		t.Cleanup(func() { _ = program.Close() })
		m.programs[name] = program
	}
	m.makeLinks()
	m.makeNetworks(acmeDocument, globexDocument)
	return m
}

func (m *machine) link(l netlink.Link) uint32 {
	m.t.Helper()
	must(m.t, netlink.LinkAdd(l))
	must(m.t, netlink.LinkSetUp(l))
	if v, ok := l.(*netlink.Veth); ok {
		peer, err := netlink.LinkByName(v.PeerName)
		must(m.t, err)
		must(m.t, netlink.LinkSetUp(peer))
	}
	return uint32(l.Attrs().Index)
}

func (m *machine) veth(name string) uint32 {
	return m.link(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"})
}

func (m *machine) makeLinks() {
	m.uplink = m.veth("up0")
	for id, name := range map[uint32]string{acme: "zbacme", globex: "zbglobex"} {
		m.bridge[id] = m.link(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	}
	router := net.ParseIP("fe80::99")
	must(m.t, netlink.NeighSet(&netlink.Neigh{LinkIndex: int(m.uplink), Family: unix.AF_INET6, IP: router,
		State: netlink.NUD_PERMANENT, HardwareAddr: routerMAC.Bytes[:]}))
	must(m.t, netlink.RouteAdd(&netlink.Route{LinkIndex: int(m.uplink), Gw: router,
		Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}))
	up, err := netlink.LinkByIndex(int(m.uplink))
	must(m.t, err)
	host, err := netlink.ParseAddr(hostAddress + "/64")
	must(m.t, err)
	host.Flags = unix.IFA_F_NODAD
	must(m.t, netlink.AddrAdd(up, host))
	m.waitLocal(netlink.NewIPNet(host.IP))
	must(m.t, m.maps.PutUplink(m.uplink, nil))
	must(m.t, m.maps.PutPrefixes(map[netip.Prefix]uint32{
		netip.MustParsePrefix("2001:db8:aaaa::/48"): maps.PrefixTenant,
		netip.MustParsePrefix("2001:db8:aaaa::/64"): maps.PrefixNode,
	}))
	must(m.t, m.maps.SetWatched(true))
}

// waitLocal waits for the kernel to know an address as its own, which it does a
// moment after the link is up.
func (m *machine) waitLocal(dst *net.IPNet) {
	m.t.Helper()
	local := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: dst}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, local, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		must(m.t, err)
		if len(routes) > 0 {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s is not the host's own", dst)
		}
	}
}

func (m *machine) makeNetworks(acmeDocument, globexDocument string) {
	m.web = m.attach("zwweb", acme, serviceWeb, 0x100, false)
	m.db = m.attach("zwdb", acme, serviceDB, 0x101, false)
	m.vm = m.attach("zwvm", acme, serviceVM, 0x102, true)
	m.api = m.attach("zwapi", globex, serviceAPI, 0x100, false)
	for _, id := range []uint32{acme, globex} {
		want := map[maps.BindingKey]maps.Binding{}
		for _, w := range []*workload{m.web, m.db, m.api} {
			if w.network != id {
				continue
			}
			b := maps.Binding{Network: id, Service: w.service, Workload: w.host, Ifindex: w.ifindex, Kind: maps.PortVeth, Mac: w.mac}
			want[maps.BindingOf(w.address, id)] = b
			want[maps.BindingOf(linkLocal(w.mac), id)] = b
		}
		_, err := m.maps.SetBindings(id, want)
		must(m.t, err)
	}
	m.apply(acme, acmeDocument)
	m.apply(globex, globexDocument)
}

func linkLocal(mac maps.MAC) netip.Addr {
	b := mac.Bytes
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: b[0] ^ 2, 9: b[1], 10: b[2], 11: 0xff, 12: 0xfe, 13: b[3], 14: b[4], 15: b[5]})
}

func gateway(network uint32) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xaa, 0xaa, 0, byte(network), 15: 1})
}

func (m *machine) attach(name string, network, service, host uint32, tap bool) *workload {
	w := &workload{network: network, service: service, host: host, tap: tap, ifindex: m.veth(name)}
	w.mac = maps.MAC{Bytes: [6]byte{2, 0, 0, byte(network), byte(host >> 8), byte(host)}}
	a := gateway(network).As16()
	binary.BigEndian.PutUint32(a[12:], host)
	kind, learnable := maps.PortVeth, uint32(0)
	if tap {
		kind, learnable = maps.PortTap, 3
	} else {
		w.address = netip.AddrFrom16(a)
	}
	must(m.t, m.maps.PutPort(w.ifindex, maps.Port{Network: network, Service: service, Workload: host, Kind: kind, Mac: w.mac, Learnable: learnable}))
	return w
}

// apply puts a network's document in force, as the daemon does: the new version
// beside the old, then the entry that names it, then its generation.
func (m *machine) apply(network uint32, document string) {
	m.t.Helper()
	program := m.compile(network, document)
	m.policies[network]++
	version := m.policies[network]
	must(m.t, m.maps.PutPolicy(network, version, program))
	n := maps.Network{Gateway: maps.AddressOf(gateway(network)), Generation: version - 1, Policy: version,
		Flags: maps.NetworkHasCIDRs, Bridge: m.bridge[network], FlowSets: 64, GatewayMac: gatewayMAC, Mtu: 1500}
	must(m.t, m.maps.PutNetwork(network, n))
	n.Generation++
	must(m.t, m.maps.PutNetwork(network, n))
	must(m.t, m.maps.DeletePolicy(network, version))
}

// compile gives a network's rules as the maps hold them.
func (m *machine) compile(network uint32, document string) policy.Program {
	m.t.Helper()
	doc, _, err := spec.DecodeNetwork("test.yaml", []byte(document))
	must(m.t, err)
	ids := map[uint32]policy.IDs{
		acme:   {Network: acme, Services: map[string]uint32{"web": serviceWeb, "db": serviceDB, "vms": serviceVM}, Peer: map[string]map[string]uint32{"globex": {"api": serviceAPI}}},
		globex: {Network: globex, Services: map[string]uint32{"api": serviceAPI}, Peer: map[string]map[string]uint32{"acme": {"web": serviceWeb, "db": serviceDB}}},
	}
	program, err := policy.Compile(doc, ids[network])
	must(m.t, err)
	return program
}
