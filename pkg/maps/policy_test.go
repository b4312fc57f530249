package maps

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/policy"
)

// bytesOf gives what the kernel gets, in hex.
func bytesOf(t testing.TB, v any) string {
	t.Helper()
	raw, err := binary.Append(nil, binary.NativeEndian, v)
	must(t, err)
	return hex.EncodeToString(raw)
}

func TestEncodeCIDR(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"::/0", "40000000" + "00000007" + "00000102" + "00000000000000000000000000000000"},
		{"2001:db8::/32", "60000000" + "00000007" + "00000102" + "20010db8000000000000000000000000"},
		{"2001:db8::5/128", "c0000000" + "00000007" + "00000102" + "20010db8000000000000000000000005"},
		{"192.0.2.0/24", "b8000000" + "00000007" + "00000102" + "00000000000000000000ffffc0000200"},
	} {
		key := encodeCIDR(7, 0x102, policy.CIDRClass{Prefix: netip.MustParsePrefix(c.prefix)})
		if got := bytesOf(t, key); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.prefix, got, c.want)
		}
	}
}

func TestEncodePort(t *testing.T) {
	for _, c := range []struct {
		name   string
		prefix policy.PortPrefix
		want   string
	}{
		{"every protocol", policy.PortPrefix{AnyProto: true}, "40000000" + "00000007" + "00000102" + "0000" + "0000"},
		{"tcp/any", policy.PortPrefix{Proto: 6}, "50000000" + "00000007" + "00000102" + "0006" + "0000"},
		{"tcp/8000-8063", policy.PortPrefix{Proto: 6, Port: 8000, Bits: 10}, "5a000000" + "00000007" + "00000102" + "0006" + "1f40"},
		{"udp/53", policy.PortPrefix{Proto: 17, Port: 53, Bits: 16}, "60000000" + "00000007" + "00000102" + "0011" + "0035"},
		{"icmpv6/echo-request", policy.PortPrefix{Proto: 58, Port: 128, Bits: 16}, "60000000" + "00000007" + "00000102" + "003a" + "0080"},
	} {
		if got := bytesOf(t, encodePort(7, 0x102, c.prefix)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestEncodeBits(t *testing.T) {
	bits := make(policy.Bits, 64)
	bits.Set(1)
	bits.Set(64*63 + 5)
	got, fits := encodeBits(bits)
	want := PolicyVector{Summary: 1 | 1<<63}
	want.Words[0], want.Words[63] = 2, 32
	if !fits || got != want {
		t.Errorf("got %v %v", got, fits)
	}
	if _, fits := encodeBits(make(policy.Bits, 65)); !fits {
		t.Error("words without a bit need no room")
	}
	tooMany := make(policy.Bits, 65)
	tooMany.Set(64 * 64)
	if _, fits := encodeBits(tooMany); fits {
		t.Error("entry 4096 has no room")
	}
}

// program has one of everything; salt makes two differ.
func program(salt uint16) policy.Program {
	one, two := policy.Bits{1}, policy.Bits{2}
	return policy.Program{
		FromService: map[uint32]policy.Bits{0: two, 4: one},
		ToService:   map[uint32]policy.Bits{0: {0}, 4: {3}},
		FromCIDR:    []policy.Bits{one},
		ToCIDR:      []policy.Bits{{0}},
		CIDRs: []policy.CIDRClass{
			{Prefix: netip.MustParsePrefix("2001:db8::/32")},
			{Prefix: netip.PrefixFrom(netip.MustParseAddr("2001:db9::"), 32+int(salt%32)), Class: 1},
		},
		PortClasses: []policy.Bits{{3}, one},
		Ports:       []policy.PortPrefix{{AnyProto: true}, {Proto: 6, Port: salt, Bits: 16, Class: 1}},
		Allow:       one,
		Log:         policy.Bits{0},
	}
}

func TestEncodePolicyEntries(t *testing.T) {
	p := program(80)
	e, err := encodePolicy(7, 2, &p)
	must(t, err)
	var got []string
	for _, v := range e.vectors {
		got = append(got, bytesOf(t, v.Key)+" "+hex.EncodeToString([]byte{byte(v.Value.Words[0])}))
	}
	key := func(dimension, class string) string {
		return "07000000" + "02000000" + dimension + "000000" + class + "000000 "
	}
	want := []string{
		key("01", "00") + "02", key("01", "04") + "01", // from service
		key("02", "04") + "03",                         // to service; class 0 has no bit
		key("03", "00") + "01",                         // from CIDR; to CIDR has no bit
		key("05", "00") + "03", key("05", "01") + "01", // port
		key("06", "00") + "01", // allow; log has no bit
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(e.cidrs) != 2 || len(e.ports) != 2 || e.cidrs[1].Value != 1 || e.ports[1].Value != 1 {
		t.Errorf("cidrs %v, ports %v", e.cidrs, e.ports)
	}
}

// lookups of a program's addresses and ports, as the datapath does them.
func portClass(t testing.TB, m *Maps, network, version uint32, proto, port uint16) (class uint32, found bool) {
	t.Helper()
	key := encodePort(network, version, policy.PortPrefix{Proto: proto, Port: port, Bits: 16})
	return class, m.PolicyPorts.Lookup(&key, &class) == nil
}

// A version is written beside the other, and goes with all that it had; the same
// after a restart, which also clears away what no network names.
func TestPolicyVersions(t *testing.T) {
	dir := bpffs(t)
	m := openMaps(t, dir)
	must(t, m.PutPolicy(7, 1, program(80)))
	must(t, m.PutPolicy(7, 1, program(80))) // again: the same
	must(t, m.PutPolicy(8, 1, program(80)))
	must(t, m.PutNetwork(7, Network{Policy: 1, Generation: 1}))
	must(t, m.PutNetwork(8, Network{Policy: 1, Generation: 1}))
	must(t, m.PutPolicy(7, 2, program(443)))
	if class, found := portClass(t, m, 7, 2, 6, 443); !found || class != 1 {
		t.Errorf("tcp/443 of version 2 has class %d, %v", class, found)
	}
	must(t, m.PutNetwork(7, Network{Policy: 2, Generation: 2}))
	must(t, m.PutPolicy(7, 3, program(22))) // and then the daemon is killed

	again := openMaps(t, dir)
	if got := again.PolicyVersions(7); !slices.Equal(got, []uint32{2}) {
		t.Errorf("after a restart network 7 has versions %v, wanted the one in force", got)
	}
	if _, found := portClass(t, again, 7, 1, 6, 80); found {
		t.Error("version 1 is still there after the sweep")
	}
	must(t, again.PutPolicy(7, 3, program(22)))
	must(t, again.DeletePolicy(7, 3))
	assertEntries(t, again, map[string]int{"policy_vectors": 14, "policy_cidrs": 4, "policy_ports": 4})
	must(t, again.DeletePolicy(7, 0))
	must(t, again.DeletePolicy(8, 0))
	assertEntries(t, again, map[string]int{"policy_vectors": 0, "policy_cidrs": 0, "policy_ports": 0})
}

func assertEntries(t testing.TB, m *Maps, want map[string]int) {
	t.Helper()
	fill, err := m.ReadFill()
	must(t, err)
	for name, n := range want {
		counted := 0
		must(t, eachRaw(m.all[name], func([]byte, [][]byte) error { counted++; return nil }))
		if fill[name].Entries != n || counted != n {
			t.Errorf("map %s: fill says %d, it holds %d, wanted %d", name, fill[name].Entries, counted, n)
		}
	}
}

func TestPolicyRefusals(t *testing.T) {
	m := openMaps(t, bpffs(t))
	if err := m.PutPolicy(7, 0, program(80)); err == nil {
		t.Error("version 0 was taken")
	}
	big := program(80)
	big.Allow = make(policy.Bits, 65)
	big.Allow.Set(64 * 64)
	if err := m.PutPolicy(7, 1, big); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("4097 entries: %v", err)
	}
}

// Thousands of prefixes go in, in batches or, where the kernel's tries fail
// those, singly.
func TestPolicyWithManyPrefixes(t *testing.T) {
	m := openMaps(t, bpffs(t))
	p := program(80)
	p.CIDRs = nil
	for i := range 10000 {
		a := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i)})
		p.CIDRs = append(p.CIDRs, policy.CIDRClass{Prefix: netip.PrefixFrom(a, 48)})
	}
	must(t, m.PutPolicy(7, 1, p))
	assertEntries(t, m, map[string]int{"policy_cidrs": 10000})
	must(t, m.DeletePolicy(7, 0))
	assertEntries(t, m, map[string]int{"policy_cidrs": 0})
}

func rawOf(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := hex.DecodeString(bytesOf(t, v))
	must(t, err)
	return raw
}
