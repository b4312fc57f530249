package apply

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
)

// texts gives differences as a person reads them.
func texts(differences []difference) []string {
	var list []string
	for _, d := range differences {
		list = append(list, d.String())
	}
	return list
}

func TestCompareBridge(t *testing.T) {
	a, b := netip.MustParsePrefix("2001:db8::1/64"), netip.MustParsePrefix("2001:db8:9::1/64")
	want := bridge{alias: "zosnet acme", mac: "02:00:00:00:00:01", mtu: 1420, spanning: plannedSpanning, addresses: []netip.Prefix{a, routerAddress}}
	for _, c := range []struct {
		name string
		have bridge
		want []string
	}{
		{"as planned", want, nil},
		{"just made", bridge{mac: want.mac, mtu: 1420, spanning: plannedSpanning}, []string{
			"alias zosnet acme", "address 2001:db8::1/64", "address fe80::1/64"}},
		{"everything else", bridge{"mine", "02:00:00:00:00:02", 1500, true, spanning{1, 400}, []netip.Prefix{b, routerAddress}}, []string{
			"alias mine → zosnet acme", "mac 02:00:00:00:00:02 → 02:00:00:00:00:01", "mtu 1500 → 1420",
			"multicast snooping true → false", "spanning tree 1 → 0", "forward delay 4s → 15s", "address not 2001:db8:9::1/64", "address 2001:db8::1/64"}},
	} {
		if diff := cmp.Diff(c.want, texts(compareBridge(want, c.have))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestComparePort(t *testing.T) {
	want := port{"zosnet acme/web-1", 1420, 7}
	for _, c := range []struct {
		name string
		have port
		want []string
	}{
		{"as planned", want, nil},
		{"just made", port{mtu: 1420}, []string{"alias zosnet acme/web-1", "bridge 0 → 7"}},
		{"elsewhere", port{want.alias, 1500, 8}, []string{"mtu 1500 → 1420", "bridge 8 → 7"}},
	} {
		if diff := cmp.Diff(c.want, texts(comparePort(want, c.have))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCompareEndpoint(t *testing.T) {
	w := plan.Workload{Kind: plan.WorkloadNetns, MAC: [6]byte{2, 0, 0, 0, 0, 1}, MTU: 1420,
		Address: netip.MustParseAddr("2001:db8::100"), LinkLocal: netip.MustParseAddr("fe80::ff:fe00:1"),
		Gateway: netip.MustParseAddr("fe80::1")}
	whole := endpoint{loopback: true, index: 2, peer: 9, mac: "02:00:00:00:00:01", mtu: 1420, up: true, gateway: true,
		addresses: plannedAddresses(w)}
	with := func(change func(*endpoint)) endpoint {
		e := whole
		e.addresses = slices.Clone(e.addresses)
		change(&e)
		return e
	}
	for _, c := range []struct {
		name string
		have endpoint
		want []string
	}{
		{"as planned", whole, nil},
		{"just made", endpoint{loopback: true, index: 2, mac: whole.mac, mtu: 1420, sysctls: []difference{{"accept_ra", "1", "0"}}}, []string{
			"accept_ra 1 → 0", "up ", "address 2001:db8::100/64", "default route via fe80::1"}},
		{"without its link-local address", with(func(e *endpoint) { e.addresses = e.addresses[:1] }),
			[]string{"address fe80::ff:fe00:1/64"}},
		{"with an address of its own", with(func(e *endpoint) {
			e.addresses = append(e.addresses, netip.MustParsePrefix("2001:db8::5/128"))
		}), nil},
		{"renumbered", with(func(e *endpoint) {
			e.addresses[0] = netip.MustParsePrefix("2001:db8::101/64")
			e.stale = e.addresses[:1]
		}), []string{"address not 2001:db8::101/64", "address 2001:db8::100/64"}},
		{"another card", with(func(e *endpoint) { e.mac, e.mtu, e.loopback = "02:00:00:00:00:02", 1500, false }),
			[]string{"lo down → up", "mac 02:00:00:00:00:02 → 02:00:00:00:00:01", "mtu 1500 → 1420"}},
	} {
		if diff := cmp.Diff(c.want, texts(compareEndpoint(w, c.have))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCompareRoutes(t *testing.T) {
	at := func(prefix string) route {
		return route{prefix: netip.MustParsePrefix(prefix), kind: unix.RTN_UNREACHABLE, metric: unreachableMetric, protocol: RouteProtocol}
	}
	a, b, c := at("2001:db8:a::/48"), at("2001:db8:b::/48"), at("2001:db8:c::/48")
	blackhole := a
	blackhole.kind = unix.RTN_BLACKHOLE
	for _, test := range []struct {
		name        string
		want, have  []route
		add, remove []route
	}{
		{"as planned", []route{a, b}, []route{b, a}, nil, nil},
		{"one more and one less", []route{a, b}, []route{b, c}, []route{a}, []route{c}},
		{"of another kind", []route{a}, []route{blackhole}, []route{a}, []route{blackhole}},
	} {
		add, remove := compareRoutes(test.want, test.have)
		if !slices.Equal(add, test.add) || !slices.Equal(remove, test.remove) {
			t.Errorf("%s: add %v, remove %v", test.name, add, remove)
		}
	}
	planned := unreachable([]plan.Prefix{{Prefix: a.prefix}, {Prefix: netip.MustParsePrefix("2001:db8:a::/64"), Node: true}})
	if !slices.Equal(planned, []route{a}) {
		t.Errorf("planned %v: the node's own /64 is none of them", planned)
	}
}

func TestCompareBindings(t *testing.T) {
	key := bpf.BindingOf(netip.MustParseAddr("2001:db8::5"), 1)
	planned := bpf.Binding{Network: 1, Service: 2, Workload: 256, Ifindex: 7, Kind: bpf.PortVeth}
	learned := bpf.Binding{Network: 1, Service: 2, Workload: 256, Ifindex: 7, Kind: bpf.PortTap, Learned: 1}
	moved := learned
	moved.Ifindex = 8
	ports := map[uint32]bpf.Port{7: {Network: 1, Workload: 256}}
	type entries = map[bpf.BindingKey]bpf.Binding
	for _, c := range []struct {
		name       string
		want, have entries
		write      bool
	}{
		{"as planned", entries{key: planned}, entries{key: planned}, false},
		{"one missing", entries{key: planned}, nil, true},
		{"one too many", nil, entries{key: planned}, true},
		{"another service", entries{key: planned}, entries{key: {Network: 1, Service: 3, Workload: 256, Ifindex: 7, Kind: bpf.PortVeth}}, true},
		{"learned and not planned yet", nil, entries{key: learned}, false},
		{"learned at an interface that is gone", nil, entries{key: moved}, true},
		{"learned and planned", entries{key: learned}, entries{key: learned}, false},
	} {
		if got := compareBindings(c.want, c.have, ports); got != c.write {
			t.Errorf("%s: %t, want %t", c.name, got, c.write)
		}
	}
}

func TestCompareSpace(t *testing.T) {
	p := netip.MustParsePrefix
	whole := map[netip.Prefix]uint32{p("2001:db8:a::/48"): bpf.PrefixTenant, p("2001:db8:a::/64"): bpf.PrefixNode}
	for _, c := range []struct {
		name       string
		want, have map[netip.Prefix]uint32
		changes    []string
	}{
		{"as planned", whole, whole, nil},
		{"at first", whole, nil, []string{"add prefix 2001:db8:a::/48: for networks", "change prefixes of the node itself: 1 more, 0 less"}},
		{"renumbered", map[netip.Prefix]uint32{p("2001:db8:b::/48"): bpf.PrefixTenant}, whole, []string{
			"remove prefix 2001:db8:a::/48: for networks", "add prefix 2001:db8:b::/48: for networks",
			"change prefixes of the node itself: 0 more, 1 less"}},
	} {
		var got []string
		for _, change := range compareSpace(c.want, c.have) {
			got = append(got, change.String())
		}
		if diff := cmp.Diff(c.changes, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestOurs(t *testing.T) {
	for _, c := range []struct {
		name, alias string
		want        bool
	}{
		{"zbacme-yyrfl5f", "zosnet acme", true},
		{"zbacme-yyrfl5f", "", true},
		{"zwa-b-abcdefg", "mine", true},
		{"zw-abcdefg", "", true},
		{"vm0", "zosnet acme/vm", true},
		{"vm0", "", false},
		{"vm0", "the zosnet test", false},
		{"zbridge", "", false},
		{"zbacme-yyrfl1f", "", false},
		{"zbacme-yyrfl5", "", false},
		{"br0", "", false},
	} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Alias = c.name, c.alias
		if got := ours(&netlink.Bridge{LinkAttrs: attrs}); got != c.want {
			t.Errorf("%s called %q: %t, want %t", c.name, c.alias, got, c.want)
		}
	}
	if name := makingName("vm0"); !madeName.MatchString(name) || len(name) > 15 {
		t.Errorf("a tap is first named %s", name)
	}
}

// TestSameTrial: a deadline is another one by a second, or by what it opens.
func TestSameTrial(t *testing.T) {
	now := time.Now()
	allow := []spec.LockdownAllow{{From: netip.MustParsePrefix("203.0.113.0/24"), Ports: []spec.Ports{{Any: true, Last: 65535}}}}
	state := plan.State{Trial: &plan.Trial{Allow: allow, Deadline: now.Add(time.Minute)}}
	at := func(boot uint64) lockdown { return plannedLockdown(state, now, boot) }
	second := uint64(time.Second)
	for _, c := range []struct {
		name string
		a, b lockdown
		want bool
	}{
		{"the same", at(10 * second), at(10 * second), true},
		{"as other clocks have it", at(10 * second), at(10*second + second/2), true},
		{"a little earlier", at(10*second + second/2), at(10 * second), true},
		{"longer", at(10 * second), at(12 * second), false},
		{"none and one", lockdown{}, at(0), false},
		{"none", lockdown{}, lockdown{deadline: 5}, true},
	} {
		if got := sameTrial(c.a, c.b); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
	if lockdownDigest(allow) == lockdownDigest(nil) {
		t.Error("an opening and none have the same digest")
	}
}

// TestLedger: what was noted is there again; a broken ledger is a new one.
func TestLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	l, err := openLedger(dir, discard)
	check(t, err)
	l.Policies[3] = version{7, "digest"}
	l.Sysctls["net/ipv6/conf/eth0/accept_ra"] = "1"
	check(t, l.save())
	again, err := openLedger(dir, discard)
	check(t, err)
	if diff := cmp.Diff(l, again, cmp.AllowUnexported(ledger{})); diff != "" {
		t.Errorf("(-saved +opened):\n%s", diff)
	}
	check(t, os.WriteFile(l.path, []byte(`{"policies": {`), 0o600))
	broken, err := openLedger(dir, discard)
	check(t, err)
	if len(broken.Policies)+len(broken.Sysctls) != 0 {
		t.Errorf("a broken ledger says %+v", broken)
	}
}
