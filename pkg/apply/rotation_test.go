package apply

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// TestRotation: both ends of a network change their keys, while a thousand numbered
// datagrams a second go each way between workloads: all arrive, at every step the
// kernel is as planned, and of the old key nothing is left.
func TestRotation(t *testing.T) {
	if elsewhere(t) {
		return
	}
	ownSockets(t)
	n := startNode(t)
	keys, err := wireguard.OpenKeys(filepath.Join(t.TempDir(), "keys"))
	check(t, err)
	devices, err := device.Open(device.Config{RunDir: t.TempDir(), Log: discard})
	check(t, err)
	t.Cleanup(devices.Close)
	n.config.Keys, n.config.Devices = keys, devices
	check(t, netlink.AddrAdd(link(t, "up0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.1/24"))}))
	key, err := keys.Make("a")
	check(t, err)
	next, err := keys.Make(wireguard.KeyName("a", 1))
	check(t, err)
	f := startFar(t, key.Public())
	f.run("ip addr del " + farNobody + "/128 dev lo") // or it may be what far sends from
	farNext := wireguard.NewPrivateKey()
	in := acrossInput(t, n, f.key.Public())
	planned := func() plan.State {
		state, err := plan.Compute(in)
		check(t, err)
		for _, o := range state.Overlays {
			t.Cleanup(func() { _ = devices.Remove(o.Interface) })
		}
		return state
	}
	before := planned()
	n.apply(before)

	namespace := filepath.Join(namespaceDir, "a.web-1")
	web := lab.NewMachine("web-1", namespace)
	machine := lab.NewMachine("far", f.path)
	eventually(t, 20*time.Second, "web-1 reaches web-2", func() bool { return pings(namespace, nearWeb, farWeb) })
	there, err := probe.StartSequence(t.Context(), web, machine, netip.AddrPortFrom(netip.MustParseAddr(farWeb), 7000), 1000)
	check(t, err)
	back, err := probe.StartSequence(t.Context(), machine, web, netip.AddrPortFrom(netip.MustParseAddr(nearWeb), 7000), 1000)
	check(t, err)

	// Each has its next device; nothing but handshakes goes over it.
	in.Parts[0].Next = &plan.Successor{Generation: 1, PublicKey: next.Public(), Port: 22001}
	in.Parts[1].Next = &plan.Successor{Generation: 1, PublicKey: farNext.Public(), Port: 22002}
	f.put(wireguard.Device{Name: "zofar1", PrivateKey: farNext, ListenPort: 22002, MTU: 1420, Peers: []wireguard.Peer{{
		PublicKey: next.Public(), Endpoint: netip.MustParseAddrPort("192.0.2.1:22001"), Keepalive: time.Second,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa:1::/64")},
	}}})
	both := planned()
	n.apply(both)
	n.unchanged(both)
	newer := both.Overlays[1].Interface
	eventually(t, 30*time.Second, "the new devices to shake hands", func() bool {
		is, err := devices.Read(newer)
		return err == nil && len(is.Peers) == 1 && !is.Peers[0].LastHandshake.IsZero()
	})

	// Each sends over it when it pleases.
	in.Sessions = []plan.Session{{Interface: newer, PublicKey: farNext.Public(), Established: true}}
	n.apply(planned())
	n.unchanged(planned())
	awaitMore(t, back, 300)
	f.run("ip -6 route replace 2001:db8:aaaa:1::/64 dev zofar1")
	awaitMore(t, back, 300)
	in.Parts[1].Sends = true
	if s := planned(); len(s.Overlays[0].Needed) > 0 {
		t.Fatalf("the old key is needed by %v", s.Overlays[0].Needed)
	}

	// Nobody sends over the old ones.
	time.Sleep(wireguard.Linger)
	in.Parts[0].Generation, in.Parts[0].PublicKey, in.Parts[0].Port, in.Parts[0].Next = 1, next.Public(), 22001, nil
	in.Parts[1].Generation, in.Parts[1].PublicKey, in.Parts[1].Port, in.Parts[1].Next = 1, farNext.Public(), 22002, nil
	check(t, keys.Remove("a"))
	after := planned()
	n.apply(after)
	n.unchanged(after)
	check(t, f.remove("zofar"))
	awaitMore(t, there, 300)
	awaitMore(t, back, 300)
	for name, stream := range map[string]*probe.Sequence{"there": there, "back": back} {
		report, err := stream.Stop()
		check(t, err)
		if report.Lost > 0 || report.Sent < 1000 {
			t.Errorf("%s: of %d datagrams %d were lost: %v", name, report.Sent, report.Lost, report.Gaps)
		}
	}
	if _, err := netlink.LinkByName(before.Overlays[0].Interface); err == nil {
		t.Error("the old device is still there")
	}
	if after.Overlays[0].Interface != newer {
		t.Errorf("the new device changed its name from %s to %s", newer, after.Overlays[0].Interface)
	}
}

// put makes a device at far what it should be.
func (f *far) put(d wireguard.Device) {
	f.t.Helper()
	in(f.t, f.path, func(*netlink.Handle) error {
		_, err := f.devices.Apply(d)
		return err
	})
	f.t.Cleanup(func() { _ = f.remove(d.Name) })
}

func (f *far) remove(name string) (err error) {
	in(f.t, f.path, func(*netlink.Handle) error {
		err = f.devices.Remove(name)
		return nil
	})
	return err
}

// awaitMore waits until so many more datagrams of a stream have come.
func awaitMore(t *testing.T, stream *probe.Sequence, count uint64) {
	t.Helper()
	have := stream.Received()
	eventually(t, 20*time.Second, "more of a stream", func() bool { return stream.Received() >= have+count })
}
