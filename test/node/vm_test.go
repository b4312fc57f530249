package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// vm is a machine whose card is connected with a tap of the node, the way a
// hypervisor does it.
type vm struct {
	*lab.Machine
	card, tap *os.File
	mac       net.HardwareAddr
	paused    atomic.Bool // it hears and says nothing
}

// startVM attaches a tap to red's web and plugs a machine into it. The
// machine's own kernel does the rest: SLAAC, DAD, ND.
func (n *node) startVM(name string) *vm {
	n.t.Helper()
	tapName := "tap-" + name
	_, err := n.daemon.CLI(n.t.Context(), "attach", "--network", "red", "--service", "web", "--name", name, "--tap", tapName)
	if err != nil {
		n.t.Fatal(err)
	}
	machine, err := n.AddMachine(name)
	if err != nil {
		n.t.Fatal(err)
	}
	v := &vm{Machine: machine}
	if v.tap, err = openTap(n.Node, tapName); err != nil {
		n.t.Fatal(err)
	}
	if v.card, err = openTap(machine, "eth0"); err != nil {
		n.t.Fatal(err)
	}
	v.mac = n.macOf("red", name)
	for _, command := range [][]string{
		{"ip", "link", "set", "eth0", "address", v.mac.String()},
		{"ip", "link", "set", "eth0", "up"},
	} {
		if _, err := machine.Run(n.t.Context(), command[0], command[1:]...); err != nil {
			n.t.Fatal(err)
		}
	}
	go v.pump(v.tap, v.card)
	go v.pump(v.card, v.tap)
	n.t.Cleanup(func() { _, _ = v.tap.Close(), v.card.Close() })
	return v
}

func (v *vm) pump(from, to *os.File) {
	buf := make([]byte, 65536)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if v.paused.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// openTap opens a tap on a machine, or makes it.
func openTap(on *lab.Machine, name string) (*os.File, error) {
	var fd int
	err := on.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: open tap %s: %w", on.Name, name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// macOf is the MAC that the daemon expects of a workload.
func (n *node) macOf(network, name string) net.HardwareAddr {
	n.t.Helper()
	var shown struct {
		Workloads []struct{ Name, MAC string }
	}
	if err := n.daemon.Decode(n.t.Context(), &shown, "network", "show", network, "-o", "json"); err != nil {
		n.t.Fatal(err)
	}
	for _, w := range shown.Workloads {
		if w.Name == name {
			mac, err := net.ParseMAC(w.MAC)
			if err != nil {
				n.t.Fatal(err)
			}
			return mac
		}
	}
	n.t.Fatalf("no workload %s in %+v", name, shown)
	return nil
}

// address waits for the VM's own global address, past DAD.
func (n *node) address(v *vm) netip.Addr {
	n.t.Helper()
	var found netip.Addr
	n.eventually(20*time.Second, func() error {
		out, err := v.Run(n.t.Context(), "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global", "-tentative")
		if err != nil {
			return err
		}
		prefix, err := netip.ParsePrefix(wordAfter(out, "inet6"))
		found = prefix.Addr()
		return err
	})
	return found
}

// TestVM attaches a VM's tap: the VM takes its address from the daemon's RAs,
// is reached by its service's rules, and cannot use what it has not claimed.
func TestVM(t *testing.T) {
	n := start(t, lab.Config{})
	n.apply(red)
	db := n.attach("red", "db", "db-1")
	n.serve(db.Machine, at(db, dbPort))
	v := n.startVM("vm-1")
	address := n.address(v)
	if prefix := netip.PrefixFrom(db.Address, 64).Masked(); !prefix.Contains(address) {
		t.Fatalf("the VM has %v, want one of %v", address, prefix)
	}
	self := &lab.Workload{Machine: v.Machine, Address: address}
	n.serve(v.Machine, at(self, webPort))

	t.Run("its address is published as its own", func(t *testing.T) {
		n := n.inTest(t)
		n.eventually(5*time.Second, func() error {
			out, err := n.daemon.CLI(t.Context(), "network", "show", "red", "-o", "json")
			if err == nil && !strings.Contains(out, address.String()) {
				err = fmt.Errorf("%v is not in %s", address, out)
			}
			return err
		})
	})
	t.Run("rules about its service are about it", func(t *testing.T) {
		n := n.inTest(t)
		n.connects(n.Outside, at(self, webPort), probe.Answered)
		n.connects(n.Outside, at(self, webPort+1), probe.Silent)
		n.connects(v.Machine, at(db, dbPort), probe.Answered)
		n.connects(v.Machine, at(db, dbPort+1), probe.Silent)
		n.connects(db.Machine, at(self, webPort), probe.Silent)
	})
	t.Run("the advertisement says what a VM needs", func(t *testing.T) {
		n := n.inTest(t)
		wire := n.wire(v.Machine)
		routers := netip.MustParseAddr("ff02::2")
		send(t, wire, probe.Ethernet(v.mac, probe.MulticastMAC(routers), layers.EthernetTypeIPv6),
			probe.NDIPv6(address, routers), probe.ICMPv6(layers.ICMPv6TypeRouterSolicitation, 0),
			&layers.ICMPv6RouterSolicitation{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p, err := wire.Wait(ctx, func(p gopacket.Packet) bool { return p.Layer(layers.LayerTypeICMPv6RouterAdvertisement) != nil })
		if err != nil {
			t.Fatal(err)
		}
		ra := p.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
		if ra.RouterLifetime != 9000 {
			t.Errorf("router lifetime %d s, want 9000: it must outlive a daemon that is down", ra.RouterLifetime)
		}
		var mtu uint32
		for _, option := range ra.Options {
			if option.Type == layers.ICMPv6OptMTU && len(option.Data) == 6 {
				mtu = binary.BigEndian.Uint32(option.Data[2:])
			}
		}
		if mtu < 1280 || mtu > 1500 {
			t.Errorf("link MTU %d in %v, want the network's", mtu, ra.Options)
		}
	})
	t.Run("an address without a binding is dropped", func(t *testing.T) {
		n := n.inTest(t)
		monitor := n.watch()
		wire := n.wire(v.Machine)
		mac := n.gateway(&lab.Workload{Machine: v.Machine, Address: address}).MAC
		b := address.As16()
		b[15] ^= 0x55
		send(t, wire, probe.Ethernet(v.mac, mac, layers.EthernetTypeIPv6),
			probe.IPv6(netip.AddrFrom16(b), db.Address, layers.IPProtocolTCP), probe.SYN(40000, dbPort))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := monitor.Wait(ctx, func(d lab.Drop) bool { return d.Reason == "unknown_identity" }); err != nil {
			t.Error(err)
		}
	})
	t.Run("it works without a daemon", func(t *testing.T) {
		n := n.inTest(t)
		if err := n.daemon.Kill(); err != nil {
			t.Fatal(err)
		}
		n.connects(n.Outside, at(self, webPort), probe.Answered)
		if err := n.daemon.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.connects(n.Outside, at(self, webPort), probe.Answered)
	})
	t.Run("detached, it is told that its router is gone", func(t *testing.T) {
		n := n.inTest(t)
		if _, err := n.daemon.CLI(t.Context(), "detach", "--network", "red", "--name", "vm-1"); err != nil {
			t.Fatal(err)
		}
		n.eventually(5*time.Second, func() error {
			out, err := v.Run(t.Context(), "ip", "-6", "route", "show", "default")
			if err == nil && out != "" {
				err = fmt.Errorf("still a default route: %s", out)
			}
			return err
		})
	})
}

// TestAttach covers what attach and detach promise about namespaces.
func TestAttach(t *testing.T) {
	n := startTenants(t, lab.Config{})
	n.serve(n.db.Machine, at(n.db, dbPort))
	t.Run("one that exists", func(t *testing.T) {
		n := n.inTest(t)
		mine, err := n.AddMachine("mine")
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.daemon.CLI(t.Context(), "attach", "--network", "red", "--service", "web", "--name", "web-2", "--netns", mine.Path())
		if err != nil {
			t.Fatal(err)
		}
		n.connects(mine, at(n.db, dbPort), probe.Answered)
		if _, err := n.daemon.CLI(t.Context(), "detach", "--network", "red", "--name", "web-2"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(mine.Path()); err != nil {
			t.Errorf("detach took away a namespace that attach did not make: %v", err)
		}
		if out, err := mine.Run(t.Context(), "ip", "link", "show", "eth0"); err == nil {
			t.Errorf("its eth0 is still there: %s", out)
		}
	})
	t.Run("its address can be used at once", func(t *testing.T) {
		n := n.inTest(t)
		for i := range 5 {
			w := n.attach("red", "web", fmt.Sprintf("quick-%d", i))
			n.connects(w.Machine, at(n.db, dbPort), probe.Answered)
			if err := n.daemon.Detach(t.Context(), w); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(w.Path()); err == nil {
				t.Errorf("%s is still there", w.Path())
			}
		}
	})
	t.Run("attachments survive a restart", func(t *testing.T) {
		n := n.inTest(t)
		before, err := n.daemon.Network(t.Context(), "red")
		if err != nil {
			t.Fatal(err)
		}
		if err := n.daemon.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		after, err := n.daemon.Network(t.Context(), "red")
		if err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("before %+v\nafter %+v %v", before, after, err)
		}
		n.connects(n.web.Machine, at(n.db, dbPort), probe.Answered)
	})
}
