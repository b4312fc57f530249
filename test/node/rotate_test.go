package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// Privacy addresses that a VM goes through, and the most that it may have bound at a
// time (the datapath's own limit for a tap).
const (
	rotations  = 28
	mostClaims = 16
)

// TestVMRotatesAddresses: a VM that takes new addresses and drops old ones, as
// privacy extensions do (RFC 8981), never meets the limit; one that is paused keeps
// what it has; and a dropped address can be taken again.
func TestVMRotatesAddresses(t *testing.T) {
	n := start(t, lab.Config{})
	n.apply(red)
	v := n.startVM("vm-1")
	first := n.address(v)
	// Its kernel asks for a tenth of a second whether somebody has an address, not for two.
	for name, value := range map[string]string{"conf/eth0/router_solicitation_delay": "0", "neigh/eth0/retrans_time_ms": "100"} {
		if err := v.Sysctl("net/ipv6/"+name, value); err != nil {
			t.Fatal(err)
		}
	}
	privacy := func(i int) netip.Addr {
		b := first.As16()
		copy(b[8:], []byte{0x1c, 0xa5, 0x7f, 0, 0x33, 0, 0x40, byte(i)})
		return netip.AddrFrom16(b)
	}
	held := []netip.Addr{first}
	take := func(a netip.Addr) {
		t.Helper()
		v.must(t, "ip", "-6", "addr", "add", a.String()+"/64", "dev", "eth0")
		n.eventually(10*time.Second, func() error { return v.speaksFrom(t, a) })
		held = append(held, a)
	}
	drop := func(a netip.Addr) {
		t.Helper()
		v.must(t, "ip", "-6", "addr", "del", a.String()+"/64", "dev", "eth0")
		held = slices.DeleteFunc(held, func(b netip.Addr) bool { return a == b })
	}

	t.Run("a paused VM keeps its addresses", func(t *testing.T) {
		n := n.inTest(t)
		for i := range 9 { // so many that they are asked for often
			take(privacy(i))
		}
		drop(held[1])
		take(privacy(9)) // has all of them asked for, now and after a while
		v.paused.Store(true)
		bound, silent := n.bound("vm-1"), map[netip.Addr]bool{}
		n.eventually(30*time.Second, func() error {
			n.silent(silent)
			for _, a := range held {
				if !silent[a] {
					return fmt.Errorf("%v is not found silent", a)
				}
			}
			return nil
		})
		for begin := time.Now(); time.Since(begin) < 8*time.Second; time.Sleep(100 * time.Millisecond) {
			if now := n.bound("vm-1"); !slices.Equal(now, bound) {
				t.Fatalf("bound %v, were %v", now, bound)
			}
		}
		v.paused.Store(false)
		for _, a := range held {
			n.eventually(10*time.Second, func() error { return v.speaksFrom(t, a) })
		}
	})
	t.Run("those that it drops are given back", func(t *testing.T) {
		n := n.inTest(t)
		for i := 10; i < rotations; i++ {
			for len(held) > 3 {
				drop(held[1])
			}
			n.eventually(time.Minute, func() error {
				if bound := n.bound("vm-1"); len(bound) >= mostClaims-1 {
					return fmt.Errorf("%d addresses are bound, of which the VM has %d", len(bound), len(held)+1)
				}
				return nil
			})
			take(privacy(i))
		}
		refused, err := n.daemon.Counter(t.Context(), "zosnet_dropped_packets_total", map[string]string{"reason": "binding_limit"})
		if err != nil || refused != 0 {
			t.Errorf("%v packets were dropped for binding_limit: %v", refused, err)
		}
	})
	t.Run("one that was given back is taken again", func(t *testing.T) {
		n := n.inTest(t)
		old := privacy(0)
		n.eventually(time.Minute, func() error {
			if slices.Contains(n.bound("vm-1"), old) {
				return fmt.Errorf("%v is still bound", old)
			}
			return nil
		})
		take(old)
		n.eventually(5*time.Second, func() error {
			if !slices.Contains(n.bound("vm-1"), old) {
				return fmt.Errorf("%v is not bound again", old)
			}
			return nil
		})
		for _, a := range held {
			if err := v.speaksFrom(t, a); err != nil {
				t.Error(err)
			}
		}
	})
}

// must runs a command on the VM.
func (v *vm) must(t *testing.T, command ...string) {
	t.Helper()
	if out, err := v.Run(t.Context(), command[0], command[1:]...); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// speaksFrom pings the gateway from one of the VM's addresses: an answer comes only
// to one that is bound.
func (v *vm) speaksFrom(t *testing.T, a netip.Addr) error {
	gateway := a.As16()
	copy(gateway[8:], []byte{0, 0, 0, 0, 0, 0, 0, 1})
	out, err := v.Run(t.Context(), "ping", "-6", "-c1", "-W1", "-I", a.String(), netip.AddrFrom16(gateway).String())
	if err != nil {
		return fmt.Errorf("ping from %v: %w\n%s", a, err, out)
	}
	return nil
}

// silent adds the addresses that the node's kernel has found nobody at.
func (n *node) silent(found map[netip.Addr]bool) {
	n.t.Helper()
	out, err := n.Node.Run(n.t.Context(), "ip", "-6", "neigh", "show", "nud", "failed")
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if a, err := netip.ParseAddr(strings.Fields(line)[0]); err == nil {
			found[a] = true
		}
	}
}

// bound gives the addresses that are known as a workload's.
func (n *node) bound(name string) (addresses []netip.Addr) {
	n.t.Helper()
	out, err := n.daemon.CLI(n.t.Context(), "network", "show", "red", "-o", "json")
	if err != nil {
		n.t.Fatal(err)
	}
	var shown struct {
		Workloads []struct {
			Name      string
			Addresses []netip.Addr
		}
	}
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
	for _, w := range shown.Workloads {
		if w.Name == name {
			return w.Addresses
		}
	}
	n.t.Fatalf("no workload %s in\n%s", name, out)
	return nil
}
