package bench

import (
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
)

// A workload on another node, behind an interface without a link header.
var remoteAddress = netip.MustParseAddr("2001:db8:bbbb:1::10")

func (n *node) remotePlace() place {
	return place{remoteAddress, n.overlay, net.HardwareAddr{2, 0, 0, 0, 0, 2}}
}

// addRemote makes the overlay of the client's network, and binds the far workload to it.
func (n *node) addRemote(b *testing.B) {
	b.Helper()
	h, err := netlink.NewHandleAt(n.inside)
	check(b, err)
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "overlay"
	leave := n.enter(b) // the file that makes it is opened here
	err = netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI})
	leave()
	check(b, err)
	made, err := h.LinkByName("overlay")
	check(b, err)
	check(b, h.LinkSetUp(made))
	n.overlay = link{index: uint32(made.Attrs().Index)}
	check(b, n.maps.PutOverlay(n.overlay.index, maps.Overlay{Network: ownNetwork}))
	key := maps.BindingOf(remoteAddress, ownNetwork)
	check(b, n.maps.Bindings.Put(&key, &maps.Binding{
		Network: ownNetwork, Service: db.id(ownNetwork), Ifindex: n.overlay.index, Kind: maps.PortOverlay,
	}))
}

// overlayIngress gives the program as it would be for an interface with an Ethernet
// header: one that adds a header cannot have the same packet twice.
func (n *node) overlayIngress(b *testing.B) *ebpf.Program {
	b.Helper()
	arch := map[string]string{"amd64": "x86", "arm64": "arm64"}[runtime.GOARCH]
	spec, err := ebpf.LoadCollectionSpec(filepath.Join("../../pkg/loader", "overlay_"+arch+"_bpfel.o"))
	check(b, err)
	used := map[string]*ebpf.Map{}
	for name, m := range n.maps.Replacements() {
		if _, ok := spec.Maps[name]; ok {
			used[name] = m
		}
	}
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: used})
	check(b, err)
	program := collection.DetachProgram("overlay_ingress")
	collection.Close()
	b.Cleanup(func() { check(b, program.Close()) })
	return program
}

// BenchmarkOverlay is a packet of a known flow to and from another node.
func BenchmarkOverlay(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.String(), func(b *testing.B) {
			n := newNode(b)
			n.fill(b, s)
			n.addRemote(b)
			n.overOverlay(b)
		})
	}
}

func (n *node) overOverlay(b *testing.B) {
	egress, ingress := n.programs["workload_egress"], n.overlayIngress(b)
	ask := udp(b, n.clientPlace(), n.remotePlace(), firstPort, port)
	answer := udp(b, n.remotePlace(), n.clientPlace(), port, firstPort)
	run := func(name string, s subject) {
		b.Run(name, func(b *testing.B) {
			leave := n.enter(b)
			sends(b, egress, tcRedirect, ask)
			sends(b, ingress, tcRedirect, answer)
			leave()
			n.measure(b, s)
		})
	}
	run("workload_egress/overlay", subject{program: egress, packet: ask, want: tcRedirect, flows: 1})
	run("overlay_ingress/workload", subject{program: ingress, packet: answer, want: tcRedirect, flows: 1})
	judged := marked(answer, ownNetwork)
	judged.frame = ask.frame[14:]
	run("overlay_egress/judged", subject{program: n.programs["overlay_egress"], packet: judged, want: tcOK})
}
