package resolver

import (
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// zone is what the resolver of acme on n1 reads.
func zone(t testing.TB) *records {
	t.Helper()
	z, err := parseZone(acme().Zone())
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// values gives the data of an answer, sorted.
func values(list []dns.RR) []string {
	out := []string{}
	for _, rr := range list {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return out
}

// acmeSerial is what the zone of acme has for its number.
var acmeSerial = fmt.Sprint(crc32.ChecksumIEEE(acme().unnumbered()))

const noName, noError = "NXDOMAIN", "NOERROR"

var answers = []struct {
	name  string
	kind  string
	rcode string
	want  []string // empty: the SOA stands for it
	apex  string   // of that SOA
}{
	{"db.acme.internal.", "AAAA", noError, []string{"2001:db8:0:1::100"}, ""},
	{"web.acme.internal.", "AAAA", noError, []string{"2001:db8:0:1::101", "2001:db8:0:1::1:0", "2001:db8:0:201::100"}, ""},
	{"web-1.acme.internal.", "AAAA", noError, []string{"2001:db8:0:1::101", "2001:db8:0:1::1:0"}, ""},
	{"db-2.acme.internal.", "AAAA", noError, []string{"2001:db8:0:201::101"}, ""}, // not healthy, but asked for by name
	{"web.n2.acme.internal.", "AAAA", noError, []string{"2001:db8:0:201::100"}, ""},
	{"WEB.N2.Acme.INTERNAL.", "AAAA", noError, []string{"2001:db8:0:201::100"}, ""},
	{"53.acme.internal.", "AAAA", noError, []string{"2001:db8:0:1::53"}, ""},
	{"acme.internal.", "NS", noError, []string{"53.acme.internal."}, ""},
	{"acme.internal.", "SOA", noError, []string{"53.acme.internal. hostmaster.acme.internal. " + acmeSerial + " 3600 600 86400 1"}, ""},
	{"db.acme.internal.", "ANY", noError, []string{`"RFC8482" ""`}, ""},

	{"db.acme.internal.", "A", noError, nil, "acme.internal."}, // there is no IPv4 inside
	{"db.acme.internal.", "MX", noError, nil, "acme.internal."},
	{"cache.acme.internal.", "AAAA", noError, nil, "acme.internal."},    // a service without a workload
	{"vm-1.acme.internal.", "AAAA", noError, nil, "acme.internal."},     // a workload without an address
	{"db.n2.acme.internal.", "AAAA", noError, nil, "acme.internal."},    // only one that is not healthy
	{"cache.n1.acme.internal.", "AAAA", noError, nil, "acme.internal."}, //
	{"n2.acme.internal.", "AAAA", noError, nil, "acme.internal."},       // a node
	{"acme.internal.", "AAAA", noError, nil, "acme.internal."},
	{"acme.internal.", "ANY", noError, []string{`"RFC8482" ""`}, ""},

	{"mail.acme.internal.", "AAAA", noName, nil, "acme.internal."},
	{"x.web-1.acme.internal.", "AAAA", noName, nil, "acme.internal."},
	{"web.n3.acme.internal.", "AAAA", noName, nil, "acme.internal."},
	{"mail.acme.internal.", "ANY", noName, nil, "acme.internal."},
	{"db.globex.internal.", "AAAA", noName, nil, "internal."}, // another network
	{"acme-internal.", "AAAA", "", nil, ""},                   // not ours
	{"internal.", "AAAA", noError, nil, "internal."},
	{".", "NS", "", nil, ""},
	{"www.example.com.", "AAAA", "", nil, ""},
	{"notinternal.", "AAAA", "", nil, ""},

	{reverseName(netip.MustParseAddr("2001:db8:0:1::100")), "PTR", noError, []string{"db-1.acme.internal."}, ""},
	{strings.ToUpper(reverseName(netip.MustParseAddr("2001:db8:0:201::101"))), "PTR", noError, []string{"db-2.acme.internal."}, ""},
	{reverseName(netip.MustParseAddr("2001:db8:0:1::53")), "PTR", noError, []string{"53.acme.internal."}, ""},
	{reverseName(netip.MustParseAddr("2001:db8:0:1::100")), "AAAA", noError, nil, "1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."},
	{reverseName(netip.MustParseAddr("2001:db8:0:1::100"))[4:], "PTR", noError, nil, "1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."}, // only others below it
	{reverseName(netip.MustParseAddr("2001:db8:0:1::7777")), "PTR", noName, nil, "1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."},
	{reverseName(netip.MustParseAddr("2001:db8:0:2::100")), "PTR", "", nil, ""}, // another network's
}

func TestAnswers(t *testing.T) {
	z := zone(t)
	for _, tt := range answers {
		t.Run(tt.kind+" "+tt.name, func(t *testing.T) {
			q := dns.Question{Name: tt.name, Qtype: dns.StringToType[tt.kind], Qclass: dns.ClassINET}
			reply := new(dns.Msg)
			if ours := z.answer(reply, q); ours != (tt.rcode != "") {
				t.Fatalf("ours: %t", ours)
			}
			if tt.rcode == "" {
				return
			}
			if got := dns.RcodeToString[reply.Rcode]; got != tt.rcode || !reply.Authoritative {
				t.Errorf("%s, authoritative %t", got, reply.Authoritative)
			}
			if diff := cmp.Diff(append([]string{}, tt.want...), values(reply.Answer)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, rr := range reply.Answer {
				if rr.Header().Name != tt.name || rr.Header().Ttl > 1 {
					t.Errorf("answered is %s", rr)
				}
			}
			if (tt.apex == "") != (len(reply.Ns) == 0) {
				t.Fatalf("beside it stands %s", reply.Ns)
			}
			if tt.apex != "" && (reply.Ns[0].Header().Name != tt.apex || reply.Ns[0].(*dns.SOA).Minttl != 1) {
				t.Errorf("beside it stands %s, want the SOA of %s", reply.Ns, tt.apex)
			}
		})
	}
}

// Whoever takes the first address of a service takes another each time.
func TestServicesTakeTurns(t *testing.T) {
	z, first := zone(t), map[string]bool{}
	for range 100 {
		reply := new(dns.Msg)
		z.answer(reply, dns.Question{Name: "web.acme.internal.", Qtype: dns.TypeAAAA, Qclass: dns.ClassINET})
		first[values(reply.Answer[:1])[0]] = true
	}
	if len(first) != 3 {
		t.Errorf("first came only %v", first)
	}
}

func TestParseZoneRefuses(t *testing.T) {
	const soa = "acme.internal. IN SOA a.acme.internal. b.acme.internal. 1 2 3 4 5\n"
	for name, text := range map[string]string{
		"nothing":              "",
		"no SOA":               "db.acme.internal. 1 IN AAAA 2001:db8::1\n",
		"outside of its zones": soa + "db.globex.internal. 1 IN AAAA 2001:db8::1\n",
		"two SOAs":             soa + soa,
		"half a line":          soa + "db.acme.internal. 1 IN AAA",
		"no address":           soa + "db.acme.internal. 1 IN AAAA 2001:db8::x\n",
		"a wildcard":           soa + "*.acme.internal. 1 IN AAAA 2001:db8::1\n",
		"an alias":             soa + "db.acme.internal. 1 IN CNAME web.acme.internal.\n",
		"another file":         soa + "$INCLUDE /etc/passwd\n",
		"another class":        soa + "db.acme.internal. 1 CH TXT \"x\"\n",
	} {
		if z, err := parseZone([]byte(text + zoneEnd)); err == nil {
			t.Errorf("%s: it is taken: %v", name, z.sets)
		}
	}
}

func TestZoneCutShort(t *testing.T) {
	text := acme().Zone()
	for n := range text {
		if _, err := parseZone(text[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken", n, len(text))
		}
	}
}

func FuzzParseZone(f *testing.F) {
	text := acme().Zone()
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		z, err := parseZone(text)
		if err != nil {
			return
		}
		for name := range z.exists {
			if z.zone(name) == nil {
				t.Errorf("%q exists in no zone", name)
			}
		}
	})
}
