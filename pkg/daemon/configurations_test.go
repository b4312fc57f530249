package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/api"
)

// givenDevice is alice's, as her configuration was given out.
func givenDevice() *api.AccessDevice {
	return &api.AccessDevice{
		Network: "acme", Name: "alice", PublicKey: aliceKey, At: "n1", Address: "2001:db8:aaaa:1::a", Peer: "key of n1",
		Endpoint: "192.0.2.1:28672", Dns: []string{"2001:db8:aaaa:1::53"}, Search: "acme.internal", Mtu: 1420,
		AllowedIps: []string{"2001:db8:aaaa:1::/64", "2001:db8:bbbb:1::/64"},
	}
}

// TestOutdated: what makes a configuration that was given out one that is out of date.
func TestOutdated(t *testing.T) {
	c, err := openConfigurations(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	document := parsed(t, "network: acme\nnodes: [n1, n2]\naccess: {alice: {publicKey: \""+aliceKey+"\"}}\n").network
	now := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	if err := c.give(document, givenDevice(), now); err != nil {
		t.Fatal(err)
	}
	const given = "2026-11-22T16:00:00Z"
	for _, test := range []struct {
		what   string
		change func(*api.AccessDevice)
		given  string
		want   []string
	}{
		{"nothing", func(*api.AccessDevice) {}, given, nil},
		{"the prefixes in another order, and she was heard", func(m *api.AccessDevice) {
			slices.Reverse(m.AllowedIps)
			m.LastHandshake = given
		}, given, nil},
		{"what she may reach", func(m *api.AccessDevice) { m.Allow = []string{"db"} }, given, nil},
		{"one more node", func(m *api.AccessDevice) { m.AllowedIps = append(m.AllowedIps, "2001:db8:cccc:1::/64") }, given,
			[]string{"the network has 2001:db8:cccc:1::/64 too"}},
		{"one more node, whose prefix is not known yet", func(m *api.AccessDevice) { m.Unknown = []string{"n3"} }, given, nil},
		{"one node less", func(m *api.AccessDevice) { m.AllowedIps = m.AllowedIps[:1] }, given,
			[]string{"the network has 2001:db8:bbbb:1::/64 no more"}},
		{"a node whose prefix is not known now", func(m *api.AccessDevice) { m.AllowedIps, m.Unknown = m.AllowedIps[:1], []string{"n2"} }, given, nil},
		{"another prefix of a node", func(m *api.AccessDevice) { m.AllowedIps[1] = "2001:db8:bbbb:2::/64" }, given,
			[]string{"the network has 2001:db8:bbbb:2::/64 too", "the network has 2001:db8:bbbb:1::/64 no more"}},
		{"the node is somewhere else", func(m *api.AccessDevice) { m.Endpoint = "198.51.100.1:28672" }, given,
			[]string{"node n1 is reached at 198.51.100.1:28672 and no more at 192.0.2.1:28672"}},
		{"the entrance has another key", func(m *api.AccessDevice) { m.Peer = "another" }, given, []string{"node n1 has another public key for it"}},
		{"another place", func(m *api.AccessDevice) {
			m.At, m.Address, m.Peer, m.Endpoint = "n2", "2001:db8:bbbb:1::a", "key of n2", "192.0.2.2:28672"
			m.Dns = []string{"2001:db8:bbbb:1::53"}
		}, given, []string{"it ends at node n2 and no more at n1"}},
		{"the network's prefix where she ends", func(m *api.AccessDevice) {
			m.Address, m.Dns, m.AllowedIps[0] = "2001:db8:aaaa:2::a", []string{"2001:db8:aaaa:2::53"}, "2001:db8:aaaa:2::/64"
		}, given, []string{
			"its address is 2001:db8:aaaa:2::a and no more 2001:db8:aaaa:1::a", "the network's resolver is another one",
			"the network has 2001:db8:aaaa:2::/64 too", "the network has 2001:db8:aaaa:1::/64 no more",
		}},
		{"a smaller MTU", func(m *api.AccessDevice) { m.Mtu = 1400 }, given, []string{"its MTU is 1400 and no more 1420"}},
		{"what is not known now", func(m *api.AccessDevice) { m.At, m.Peer, m.Problem = "", "", "not taken over yet" }, given, nil},
		{"another device under the name", func(m *api.AccessDevice) { m.PublicKey, m.Mtu = "another", 1400 }, "", nil},
		{"another device", func(m *api.AccessDevice) { m.Name, m.Mtu = "bob", 1400 }, "", nil},
		{"the device of that name in another network", func(m *api.AccessDevice) { m.Network, m.Mtu = "globex", 1400 }, "", nil},
	} {
		t.Run(test.what, func(t *testing.T) {
			m := givenDevice()
			test.change(m)
			c.compare(m)
			if d := cmp.Diff(test.want, m.Outdated); d != "" || m.Given != test.given {
				t.Errorf("given %q, want %q; what has changed, want - is +:\n%s", m.Given, test.given, d)
			}
		})
	}
}

// TestConfigurationsStay: what was given out is known after a restart, until it is given
// out anew, the device is no more, or the network is gone.
func TestConfigurationsStay(t *testing.T) {
	dir := t.TempDir()
	const bobKey = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="
	opened := func() *configurations {
		t.Helper()
		c, err := openConfigurations(dir)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	now := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	give := func(m *api.AccessDevice, access string) {
		t.Helper()
		now = now.Add(time.Minute)
		if err := opened().give(parsed(t, "network: acme\nnodes: [n1]\naccess: {"+access+"}\n").network, m, now); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, want map[string]string) {
		t.Helper()
		got := map[string]string{}
		for name, given := range opened().given["acme"] {
			got[name] = given.Given.Format("15:04")
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: want - is +:\n%s", what, d)
		}
	}
	alice, bob := "alice: {publicKey: \""+aliceKey+"\"}", "bob: {publicKey: \""+bobKey+"\"}"
	bobs := givenDevice()
	bobs.Name, bobs.PublicKey = "bob", bobKey
	give(givenDevice(), alice)
	give(bobs, alice+", "+bob)
	expect("two", map[string]string{"alice": "16:01", "bob": "16:02"})
	give(givenDevice(), alice+", "+bob)
	expect("one anew", map[string]string{"alice": "16:03", "bob": "16:02"})
	give(givenDevice(), alice)
	expect("the other one revoked", map[string]string{"alice": "16:04"})
	if info, err := os.Stat(filepath.Join(dir, "configurations.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	for _, network := range []string{"globex", "acme"} {
		if err := opened().forget(network); err != nil {
			t.Fatal(err)
		}
	}
	expect("the network gone", map[string]string{})
}
