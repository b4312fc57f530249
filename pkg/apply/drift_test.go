package apply

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
)

const web1 = "/run/netns/acme.web-1"

// drifts are ways in which somebody takes away or changes what was applied, each
// with the object whose repair is to be reported.
var drifts = []struct {
	name    string
	disturb func(t *testing.T, n *node, s plan.State)
	repairs string
}{
	{"the route of a /64 is deleted", func(t *testing.T, n *node, s plan.State) {
		deleteRoute(t, s.Networks[0].Prefix)
	}, "route 2001:db8:aaaa:1::/64"},
	{"the unreachable route is deleted", func(t *testing.T, n *node, s plan.State) {
		deleteRoute(t, s.Prefixes[0].Prefix)
	}, "route 2001:db8:aaaa::/48"},
	{"a bridge is deleted", func(t *testing.T, n *node, s plan.State) {
		check(t, netlink.LinkDel(link(t, s.Networks[0].Bridge)))
	}, "bridge "},
	{"a bridge is down", func(t *testing.T, n *node, s plan.State) {
		check(t, netlink.LinkSetDown(link(t, s.Networks[0].Bridge)))
	}, "bridge "},
	{"a bridge has another MAC, MTU and alias", func(t *testing.T, n *node, s plan.State) {
		l := link(t, s.Networks[0].Bridge)
		check(t, netlink.LinkSetHardwareAddr(l, []byte{2, 0, 0, 0, 0, 9}))
		check(t, netlink.LinkSetMTU(l, 1300))
		check(t, netlink.LinkSetAlias(l, "mine"))
	}, "bridge "},
	{"a bridge has another address", func(t *testing.T, n *node, s plan.State) {
		l := link(t, s.Networks[0].Bridge)
		check(t, removeAddress(handle(t), l, routerAddress))
		check(t, addAddress(handle(t), l, netip.MustParsePrefix("fe80::99/64")))
	}, "bridge "},
	{"a bridge snoops", func(t *testing.T, n *node, s plan.State) {
		attrs, on := netlink.NewLinkAttrs(), true
		attrs.Name = s.Networks[0].Bridge
		check(t, netlink.LinkModify(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &on}))
	}, "bridge "},
	{"a bridge has a spanning tree", func(t *testing.T, n *node, s plan.State) {
		check(t, setSpanning(link(t, s.Networks[0].Bridge), spanning{stp: 1, forwardDelay: plannedSpanning.forwardDelay}))
	}, "bridge "},
	{"a bridge delays its ports", func(t *testing.T, n *node, s plan.State) {
		check(t, setSpanning(link(t, s.Networks[0].Bridge), spanning{forwardDelay: 3000}))
	}, "bridge "},
	{"a bridge listens to RAs", func(t *testing.T, n *node, s plan.State) {
		check(t, writeSysctl(interfaceSysctl(s.Networks[0].Bridge, "accept_ra"), "2"))
	}, "bridge "},
	{"a workload's veth is deleted", func(t *testing.T, n *node, s plan.State) {
		check(t, netlink.LinkDel(link(t, ofTenants(s)[1].Interface)))
	}, "workload acme/web-1"},
	{"a workload's veth is deleted from inside", func(t *testing.T, n *node, s plan.State) {
		in(t, web1, func(h *netlink.Handle) error {
			l, err := h.LinkByName(endpointName)
			if err != nil {
				return err
			}
			return h.LinkDel(l)
		})
	}, "workload acme/web-1"},
	{"a workload's interface is no port any more", func(t *testing.T, n *node, s plan.State) {
		check(t, netlink.LinkSetNoMaster(link(t, ofTenants(s)[1].Interface)))
	}, "workload acme/web-1"},
	{"a workload's interface is down", func(t *testing.T, n *node, s plan.State) {
		check(t, netlink.LinkSetDown(link(t, ofTenants(s)[1].Interface)))
	}, "workload acme/web-1"},
	{"a workload's namespace is deleted", func(t *testing.T, n *node, s plan.State) {
		check(t, removeNamespace(web1))
	}, "workload acme/web-1"},
	{"eth0 has lost its address and its route", func(t *testing.T, n *node, s plan.State) {
		in(t, web1, func(h *netlink.Handle) error {
			l, err := h.LinkByName(endpointName)
			if err != nil {
				return err
			}
			if err := removeAddress(h, l, netip.PrefixFrom(ofTenants(s)[1].Address, 64)); err != nil {
				return err
			}
			return h.RouteDel(gatewayRoute(l, ofTenants(s)[1]))
		})
	}, "workload acme/web-1"},
	{"lo is down", func(t *testing.T, n *node, s plan.State) {
		in(t, web1, func(h *netlink.Handle) error {
			l, err := h.LinkByName(loopbackName)
			if err != nil {
				return err
			}
			return h.LinkSetDown(l)
		})
	}, "workload acme/web-1"},
	{"eth0 is down", func(t *testing.T, n *node, s plan.State) {
		in(t, web1, func(h *netlink.Handle) error {
			l, err := h.LinkByName(endpointName)
			if err != nil {
				return err
			}
			return h.LinkSetDown(l)
		})
	}, "workload acme/web-1"},
	{"a tap is deleted", func(t *testing.T, n *node, s plan.State) {
		check(t, netlink.LinkDel(link(t, "vm0")))
	}, "workload acme/vm"},
	{"a workload's program is taken away", func(t *testing.T, n *node, s plan.State) {
		check(t, os.Remove(n.bpffs()+"/links/workload_egress-"+ofTenants(s)[1].Interface))
	}, "workload acme/web-1"},
	{"an uplink's program is taken away", func(t *testing.T, n *node, s plan.State) {
		check(t, os.Remove(n.bpffs()+"/links/uplink_ingress-up0"))
	}, "uplink up0"},
	{"an uplink's lowest program is taken away", func(t *testing.T, n *node, s plan.State) {
		check(t, os.Remove(n.bpffs()+"/links/uplink_xdp-up0"))
	}, "uplink up0"},
	{"the node does not forward any more", func(t *testing.T, n *node, s plan.State) {
		check(t, writeSysctl(forwardingSysctl, "0"))
	}, "sysctl net/ipv6/conf/all/forwarding"},
	{"an uplink answers ARP for other links", func(t *testing.T, n *node, s plan.State) {
		check(t, writeSysctl("net/ipv4/conf/up0/arp_ignore", "0"))
	}, "sysctl net/ipv4/conf/up0/arp_ignore"},
	{"an uplink asks by ARP with other links' addresses", func(t *testing.T, n *node, s plan.State) {
		check(t, writeSysctl("net/ipv4/conf/up0/arp_announce", "0"))
	}, "sysctl net/ipv4/conf/up0/arp_announce"},
	{"a port is forgotten", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().DeletePort(uint32(link(t, ofTenants(s)[1].Interface).Attrs().Index)))
	}, "workload acme/"},
	{"a binding is forgotten", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().DeleteBinding(bpf.BindingOf(s.Bindings[0].Address, s.Bindings[0].NetworkID)))
	}, "network acme"},
	{"a network's entry is emptied", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().PutNetwork(1, bpf.Network{}))
	}, "network acme"},
	{"a class of a policy is deleted", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().PolicyVectors.Delete(firstKey[bpf.PolicyKey, bpf.PolicyVector](t, n.datapath.Maps().PolicyVectors)))
	}, "network acme"},
	{"a class of a policy allows more", func(t *testing.T, n *node, s plan.State) {
		key := firstKey[bpf.PolicyKey, bpf.PolicyVector](t, n.datapath.Maps().PolicyVectors)
		var vector bpf.PolicyVector
		check(t, n.datapath.Maps().PolicyVectors.Lookup(key, &vector))
		vector.Words[1] = ^vector.Words[1]
		check(t, n.datapath.Maps().PolicyVectors.Put(key, &vector))
	}, "network acme"},
	{"a policy forgets a CIDR", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().PolicyCidrs.Delete(firstKey[bpf.PolicyCIDRKey, uint32](t, n.datapath.Maps().PolicyCidrs)))
	}, "network acme"},
	{"a policy knows one more port", func(t *testing.T, n *node, s plan.State) {
		key := firstKey[bpf.PolicyPortKey, uint32](t, n.datapath.Maps().PolicyPorts)
		key.Port++
		check(t, n.datapath.Maps().PolicyPorts.Put(key, uint32(0)))
	}, "network acme"},
	{"an uplink's entry is forgotten", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().DeleteUplink(uint32(link(t, "up0").Attrs().Index)))
	}, "uplink up0"},
	{"the node's prefixes are forgotten", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().PutPrefixes(nil))
	}, "prefix 2001:db8:aaaa::/48"},
	{"the lockdown names other entries", func(t *testing.T, n *node, s plan.State) {
		check(t, n.datapath.Maps().SetLockdown(99))
	}, "lockdown"},
}

// firstKey gives a key that a map holds.
func firstKey[K, V any](t *testing.T, m *ebpf.Map) *K {
	t.Helper()
	var first *K
	check(t, eachEntry(m, func(key *K, _ *V) {
		if first == nil {
			k := *key
			first = &k
		}
	}))
	if first == nil {
		t.Fatalf("%s is empty", m)
	}
	return first
}

func deleteRoute(t *testing.T, prefix netip.Prefix) {
	t.Helper()
	check(t, netlink.RouteDel(&netlink.Route{Dst: ipNet(prefix)}))
}

// TestDrift: whatever drifts from the plan is back, reported, and nothing else is
// touched. Usually it is back within 5 s; now and then the machine is busy for longer.
func TestDrift(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	s := grid{networks: []string{"acme"}, attachments: []plan.Attachment{
		netns("acme", "web-1", 256), tap("acme", "vm", "vm0", 258),
	}, rules: map[string][]spec.Rule{"acme": {{Action: spec.Allow,
		From:  []spec.Selector{{Kind: spec.SelectCIDR, CIDR: netip.MustParsePrefix("2001:db8:77::/48")}},
		To:    []spec.Selector{{Kind: spec.SelectInside}},
		Ports: []spec.Ports{{Proto: spec.ProtoTCP, First: 80, Last: 80}}}}}}.state(t)
	n.apply(s)
	whole := dumpNode(t, n)

	const soon, atLast = 5 * time.Second, time.Minute
	late := 0
	repairs := n.guard(t)
	for _, d := range drifts {
		t.Run(d.name, func(t *testing.T) {
			repairs.take()
			begin := time.Now()
			d.disturb(t, n, s)
			eventually(t, atLast, "repaired "+d.repairs, func() bool {
				return repairs.have(d.repairs)
			})
			t.Logf("after %v", time.Since(begin).Round(time.Millisecond))
			for dumpNode(t, n) != whole && time.Since(begin) < atLast {
				time.Sleep(10 * time.Millisecond)
			}
			if diff := cmp.Diff(whole, dumpNode(t, n)); diff != "" {
				t.Errorf("before and %v after (-before +after):\n%s", atLast, diff)
			}
			if time.Since(begin) > soon {
				late++
			}
		})
	}
	if late > len(drifts)/4 {
		t.Errorf("%d of %d drifts were back after more than %v", late, len(drifts), soon)
	}
}

// repairs is what Run reports until the test ends.
type repairs struct {
	mu   sync.Mutex
	list []plan.Change
}

// guard has Run keep the node as it was applied until the test ends.
func (n *node) guard(t *testing.T) *repairs {
	t.Helper()
	r := &repairs{}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		err := n.Run(ctx, Hooks{MTU: func(uint16) {}, Repaired: func(c plan.Change) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.list = append(r.list, c)
		}})
		if err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

// take gives what was reported since the last time.
func (r *repairs) take() []plan.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// have tells whether an object of that beginning was reported.
func (r *repairs) have(object string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.list, func(c plan.Change) bool { return strings.HasPrefix(c.Object, object) })
}

// TestTrialEnds: a trial whose time is over has gone back by itself, so there is
// nothing to repair.
func TestTrialEnds(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme"}, trial: &plan.Trial{Deadline: time.Now().Add(2 * time.Second),
		Allow: []spec.LockdownAllow{{From: netip.MustParsePrefix("203.0.113.0/24"), Ports: []spec.Ports{{Any: true}}}}}}
	n.apply(g.state(t))
	repairs := n.guard(t)
	eventually(t, 30*time.Second, "the trial is forgotten", func() bool {
		node, err := n.datapath.Maps().ReadNode()
		check(t, err)
		return node.TrialDeadline == 0
	})
	g.trial = nil
	n.unchanged(g.state(t))
	if got := repairs.take(); len(got) != 0 {
		t.Errorf("reported as repairs: %v", got)
	}
}

// TestUplinkAppears: an uplink that comes is guarded long before anybody can have
// given it an address, and again after it went and came back.
func TestUplinkAppears(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	n.apply(grid{networks: []string{"acme"}, uplinks: []string{"up0", "up1"}}.state(t))
	n.guard(t)
	for range 2 {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "up1"
		veth := netlink.NewVeth(attrs)
		veth.PeerName = "world1"
		check(t, netlink.LinkAdd(veth))
		begin := time.Now()
		eventually(t, 30*time.Second, "up1 has its programs", func() bool {
			attached, err := n.datapath.Attachments()
			check(t, err)
			count := 0
			for _, a := range attached {
				if a.Interface == "up1" {
					count++
				}
			}
			return count == 3
		})
		t.Logf("after %v", time.Since(begin).Round(time.Millisecond))
		check(t, netlink.LinkDel(link(t, "up1")))
	}
}

// TestRouteEpoch: a change of routes makes the datapath look its next hops up again,
// and a burst of changes does so a few times only.
func TestRouteEpoch(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	n.apply(two.state(t))
	n.guard(t)
	epoch := func() uint32 {
		node, err := n.datapath.Maps().ReadNode()
		check(t, err)
		return node.RouteEpoch
	}
	add := func(from, to int) {
		for i := from; i < to; i++ {
			prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, 0, byte(i >> 8), byte(i)}), 64)
			check(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet(prefix), LinkIndex: link(t, "up0").Attrs().Index}))
		}
	}
	before, next := epoch(), 0
	eventually(t, 20*time.Second, "a route changed the epoch", func() bool {
		add(next, next+1)
		next++
		return epoch() != before
	})
	before = epoch()
	begin := time.Now()
	add(1000, 2000)
	took := time.Since(begin)
	most := uint32(took/epochInterval) + 3
	if counted := epoch() - before; counted > most {
		t.Errorf("1000 routes in %v changed the epoch %d times, want at most %d", took, counted, most)
	}
}
