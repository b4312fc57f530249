package node

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"

	"github.com/zosnet/zosnet/test/attack"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// TestAttacks plays every attack from red's db: none of its frames arrives
// anywhere, and each shows up under its own reason in the monitor and in the
// metrics. The same holds while no daemon runs, the showing up apart.
func TestAttacks(t *testing.T) {
	n := startTenants(t, lab.Config{LAN: true})
	monitor := n.watch()
	own := n.wire(n.db.Machine)
	others := map[string]*probe.Wire{
		"red.web-1": n.wire(n.web.Machine), "blue.api-1": n.wire(n.api.Machine), "blue.store-1": n.wire(n.store.Machine),
		"lan": n.wire(n.LAN), "outside": n.wire(n.Outside), "node": n.wire(n.Node),
	}
	list, err := attack.Scene{
		Attacker: attack.Party{Address: n.db.Address, MAC: own.MAC},
		Victim:   attack.Party{Address: n.web.Address, MAC: others["red.web-1"].MAC},
		Stranger: attack.Party{Address: n.store.Address, MAC: others["blue.store-1"].MAC},
		Gateway:  n.gateway(n.db),
	}.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		t.Run(a.Name, func(t *testing.T) {
			n := n.inTest(t)
			before := n.drops("red", a.Reason)
			if err := own.Send(a.Frame); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := monitor.Wait(ctx, func(d lab.Drop) bool {
				return d.Reason == a.Reason && d.Interface == n.db.Interface && d.Network == "red"
			})
			if err != nil {
				all, _ := monitor.Seen(func(d lab.Drop) bool { return d.Interface == n.db.Interface })
				t.Errorf("%s in the monitor: %v; it shows %+v", a.Reason, err, all)
			}
			if after := n.drops("red", a.Reason); after != before+1 {
				t.Errorf("%s in the metrics went from %v to %v, want one more", a.Reason, before, after)
			}
			nowhere(t, others, a)
		})
	}
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		t.Run(a.Name+", without a daemon", func(t *testing.T) {
			if err := own.Send(a.Frame); err != nil {
				t.Fatal(err)
			}
			nowhere(t, others, a)
		})
	}
}

func nowhere(t *testing.T, wires map[string]*probe.Wire, a attack.Attack) {
	t.Helper()
	time.Sleep(answerTime)
	for name, wire := range wires {
		for _, p := range wire.Frames(a.Arrived) {
			t.Errorf("arrived at %s:\n%v", name, p)
		}
		wire.Forget()
	}
}

// gateway is a workload's gateway as the workload knows it.
func (n *node) gateway(w *lab.Workload) attack.Party {
	n.t.Helper()
	n.pings(w.Machine, w.Gateway(), probe.Answered)
	mac, err := w.Neighbour("eth0", w.Gateway())
	if err != nil {
		n.t.Fatal(err)
	}
	return attack.Party{Address: w.Gateway(), MAC: mac}
}

func (n *node) drops(network, reason string) float64 {
	n.t.Helper()
	count, err := n.daemon.Drops(n.t.Context(), network, reason)
	if err != nil {
		n.t.Fatal(err)
	}
	return count
}

// TestStolenIdentity lets a workload take another's address and MAC with the
// kernel's own means, as root in its namespace can: it does not get the
// other's traffic, and its own goes nowhere. A running daemon puts the
// namespace right again, and without one it is dropped.
func TestStolenIdentity(t *testing.T) {
	n := startTenants(t, lab.Config{})
	n.serve(n.web.Machine, at(n.web, webPort))
	n.serve(n.Outside, everywhere(webPort))
	thief, victim := n.db, n.web
	own, stolen := n.wire(thief.Machine).MAC, n.wire(victim.Machine).MAC
	steal := func() {
		t.Helper()
		for _, command := range [][]string{
			{"ip", "-6", "addr", "replace", victim.Address.String() + "/64", "dev", "eth0", "nodad"},
			{"ip", "link", "set", "eth0", "address", stolen.String()},
		} {
			if out, err := thief.Run(t.Context(), command[0], command[1:]...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	victimAnswers := func() {
		t.Helper()
		for range 5 {
			// The thief talks as its victim, to move every table it can.
			_, _ = probe.Ping(thief.Machine, thief.Gateway(), 200*time.Millisecond)
			body, outcome, err := probe.Get(t.Context(), n.Outside, at(victim, webPort), within)
			if err != nil || outcome != probe.Answered || body != victim.Name {
				t.Fatalf("outside asks %s and %q answers (%s, %v)", victim.Name, body, outcome, err)
			}
		}
	}
	steal()
	victimAnswers()
	n.eventually(5*time.Second, func() error {
		if mac := n.wire(thief.Machine).MAC; mac.String() != own.String() {
			return fmt.Errorf("the daemon leaves the thief with MAC %v", mac)
		}
		return nil
	})
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	steal()
	n.serve(thief.Machine, at(victim, webPort))
	victimAnswers()
	n.connects(thief.Machine, netip.AddrPortFrom(lab.OutsideIPv6, webPort), probe.Silent)
}

// TestTenantScans lets a tenant scan the host by every address it has, and
// the other tenant.
func TestTenantScans(t *testing.T) {
	testenv.RequireTool(t, "nmap")
	n := startTenants(t, lab.Config{})
	for _, port := range []uint16{22, 80} {
		n.serve(n.Node, everywhere(port))
	}
	n.echo(n.Node, everywhere(53))
	n.serve(n.db.Machine, at(n.db, dbPort))
	gateway := netip.MustParseAddr("fe80::1%eth0")
	for _, target := range []netip.Addr{lab.NodeIPv6, n.api.Gateway(), n.web.Gateway(), gateway, n.db.Address} {
		t.Run(target.String(), func(t *testing.T) {
			for _, scan := range [][]string{
				{"-sS", "-p1-65535", "--min-rate", "15000", "--max-retries", "1"},
				{"-sU", "--top-ports", "100", "--min-rate", "1000", "--max-retries", "1"},
				{"-sO", "--min-rate", "1000", "--max-retries", "1"},
			} {
				found, err := probe.Nmap(t.Context(), n.api.Machine, target, scan...)
				if err != nil {
					t.Errorf("nmap %v: %v", scan, err)
				}
				// The network's own gateway answers ping: protocol 58 is open there.
				pingable := target == n.api.Gateway() || target == gateway
				for _, answer := range found.Answered {
					if !pingable || scan[0] != "-sO" || answer != "ip/58 open (proto-response)" {
						t.Errorf("nmap %v: answered: %s", scan, answer)
					}
				}
			}
		})
	}
	n.pings(n.api.Machine, n.api.Gateway(), probe.Answered)
	n.pings(n.api.Machine, lab.NodeIPv6, probe.Silent)
	n.pings(n.api.Machine, n.web.Gateway(), probe.Silent)
}

// TestTenantsApart lets everything that a workload's kernel says by itself
// pass the other network's wire: nothing of it shows there.
func TestTenantsApart(t *testing.T) {
	n := startTenants(t, lab.Config{})
	wire := n.wire(n.api.Machine)
	mine := n.wire(n.web.Machine).MAC.String()
	for _, command := range [][]string{
		{"ping", "-c3", "-i0.2", "-W1", "ff02::1%eth0"},
		{"ping", "-c1", "-W1", n.api.Address.String()},
		{"ping", "-c1", "-W1", "ff05::2%eth0"},
		{"ip", "-6", "addr", "add", "2001:db8:ffff::1/64", "dev", "eth0"},
	} {
		_, _ = n.web.Run(t.Context(), command[0], command[1:]...)
	}
	ours := func(p gopacket.Packet) bool {
		return fmt.Sprint(p.LinkLayer().LinkFlow().Src()) == mine || fromAnyOf([]netip.Addr{n.web.Address})(p)
	}
	for _, p := range wire.Frames(ours) {
		t.Errorf("red's frame on blue's wire:\n%v", p)
	}
}
