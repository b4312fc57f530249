package maps

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

func allow(from string, ports ...string) spec.LockdownAllow {
	a := spec.LockdownAllow{From: netip.MustParsePrefix(from)}
	for _, text := range ports {
		p, err := spec.ParsePorts(text)
		if err != nil {
			panic(err)
		}
		a.Ports = append(a.Ports, p)
	}
	return a
}

// Each prefix's entry holds what the prefixes around it allow, since the datapath
// takes the longest match alone.
func TestEncodeLockdown(t *testing.T) {
	entries, err := encodeLockdown(0x102, []spec.LockdownAllow{
		allow("203.0.113.0/24", "tcp/22"),
		allow("203.0.113.7/32", "udp/any"),
		allow("203.0.113.7/32", "tcp/80-81"), // again
		allow("2001:db8::/32", "any"),
		allow("0.0.0.0/0", "tcp/443-444", "udp/51820"), // around the others, but not around IPv6
	})
	must(t, err)
	got := map[string][]LockdownRange{}
	for _, e := range entries {
		got[bytesOf(t, e.Key)] = e.Value.Ranges[:e.Value.Count]
	}
	tcp := func(first, last uint16) LockdownRange { return LockdownRange{First: first, Last: last, Proto: 6} }
	udp := LockdownRange{Last: 65535, Proto: 17}
	want := map[string][]LockdownRange{
		"80000000" + "00000102" + "00000000000000000000ffff00000000": {tcp(443, 444)},
		"98000000" + "00000102" + "00000000000000000000ffffcb007100": {tcp(22, 22), tcp(443, 444)},
		"a0000000" + "00000102" + "00000000000000000000ffffcb007107": {tcp(22, 22), tcp(80, 81), tcp(443, 444), udp},
		"40000000" + "00000102" + "20010db8000000000000000000000000": {{Last: 65535}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestOpenPorts: of single ports that are open to everybody there are as many as
// networks need, and each is of one family.
func TestOpenPorts(t *testing.T) {
	m := openMaps(t, bpffs(t))
	var open []spec.LockdownAllow
	for i := range 1000 {
		port := fmt.Sprintf("udp/%d", 20480+i)
		open = append(open, allow("0.0.0.0/0", port), allow("::/0", port))
	}
	must(t, m.PutLockdown(1, open))
	assertEntries(t, m, map[string]int{"lockdown_ports": 2000, "lockdown_allow": 2})
	must(t, m.PutLockdown(2, open[:3]))
	var one uint32
	for key, want := range map[LockdownPortKey]error{
		{Version: 2, Family: 4, Proto: 17, Port: 20480}: nil,
		{Version: 2, Family: 6, Proto: 17, Port: 20480}: nil,
		{Version: 2, Family: 6, Proto: 17, Port: 20481}: ebpf.ErrKeyNotExist,
		{Version: 2, Family: 4, Proto: 6, Port: 20480}:  ebpf.ErrKeyNotExist,
	} {
		if err := m.LockdownPorts.Lookup(&key, &one); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", key, err, want)
		}
	}
	must(t, m.PutLockdown(2, open[:1])) // again
	assertEntries(t, m, map[string]int{"lockdown_ports": 2001})
	must(t, m.DeleteLockdown(2))
	assertEntries(t, m, map[string]int{"lockdown_ports": 1})
}

func TestLockdownHasLimits(t *testing.T) {
	var ports []string
	for i := range LockdownMax + 1 {
		ports = append(ports, fmt.Sprintf("tcp/%d", 1000+i))
	}
	_, err := encodeLockdown(1, []spec.LockdownAllow{allow("203.0.113.0/24", ports...)})
	if err == nil || !strings.Contains(err.Error(), "203.0.113.0/24") {
		t.Errorf("33 ranges: %v", err)
	}
	if _, err := encodeLockdown(1, []spec.LockdownAllow{allow("203.0.113.0/24", ports[:LockdownMax]...)}); err != nil {
		t.Error(err)
	}
}

// Versions stand beside each other until one goes; writing one again takes away
// what it no longer has.
func TestLockdownVersions(t *testing.T) {
	m := openMaps(t, bpffs(t))
	must(t, m.PutLockdown(1, []spec.LockdownAllow{allow("203.0.113.0/24", "tcp/22"), allow("198.51.100.0/24", "tcp/22")}))
	must(t, m.PutLockdown(2, []spec.LockdownAllow{allow("203.0.113.0/24", "tcp/22")}))
	must(t, m.SetLockdown(1))
	deadline := BootTime() + 60e9
	must(t, m.TryLockdown(2, deadline))
	node, err := m.ReadNode()
	must(t, err)
	if node.Lockdown != 1 || node.LockdownTrial != 2 || node.TrialDeadline != deadline {
		t.Errorf("on trial: %+v", node)
	}
	must(t, m.SetLockdown(2))
	if node, err = m.ReadNode(); err != nil || node.Lockdown != 2 || node.LockdownTrial != 0 || node.TrialDeadline != 0 {
		t.Errorf("confirmed: %+v %v", node, err)
	}
	assertEntries(t, m, map[string]int{"lockdown_allow": 3})
	must(t, m.PutLockdown(1, []spec.LockdownAllow{allow("198.51.100.0/24", "tcp/22")}))
	assertEntries(t, m, map[string]int{"lockdown_allow": 2})
	must(t, m.DeleteLockdown(2))
	assertEntries(t, m, map[string]int{"lockdown_allow": 1})
}

// Each write of the node's entry leaves the rest of it alone.
func TestUpdateNode(t *testing.T) {
	m := openMaps(t, bpffs(t))
	must(t, m.SetLockdown(3))
	must(t, m.SetWatched(true))
	must(t, m.AdvanceRoutes())
	must(t, m.AdvanceRoutes())
	node, err := m.ReadNode()
	must(t, err)
	if node != (Node{Lockdown: 3, Watched: 1, RouteEpoch: 2}) {
		t.Errorf("%+v", node)
	}
	must(t, m.SetWatched(false))
	if node, err = m.ReadNode(); err != nil || node.Watched != 0 {
		t.Errorf("%+v %v", node, err)
	}
}
