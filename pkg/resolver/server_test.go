package resolver

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// ask asks one question over a transport.
func ask(t *testing.T, r *running, transport, name, kind string, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	answer, err := tryAsk(r, transport, name, kind, change)
	if err != nil {
		t.Fatalf("%s %s by %s: %v", name, kind, transport, err)
	}
	return answer
}

func tryAsk(r *running, transport, name, kind string, change func(*dns.Msg)) (*dns.Msg, error) {
	question := new(dns.Msg)
	question.SetQuestion(name, dns.StringToType[kind])
	if change != nil {
		change(question)
	}
	client := dns.Client{Net: transport, Timeout: 20 * time.Second}
	answer, _, err := client.Exchange(question, r.address)
	return answer, err
}

// Everything that TestAnswers says, asked for over the wire.
func TestAnswersOverTheWire(t *testing.T) {
	if elsewhere(t) {
		return
	}
	r := start(t)
	for _, transport := range []string{"udp", "tcp"} {
		for _, tt := range answers {
			answer := ask(t, r, transport, tt.name, tt.kind, nil)
			want := tt.rcode
			if want == "" {
				want = "REFUSED" // there is nobody to forward to
			}
			if got := dns.RcodeToString[answer.Rcode]; got != want || answer.RecursionAvailable || answer.Truncated {
				t.Errorf("%s %s by %s: %s, want %s; %s", tt.name, tt.kind, transport, got, want, answer)
			}
			if diff := cmp.Diff(append([]string{}, tt.want...), values(answer.Answer)); diff != "" {
				t.Errorf("%s %s by %s (-want +got):\n%s", tt.name, tt.kind, transport, diff)
			}
		}
	}
}

func TestOddQuestions(t *testing.T) {
	if elsewhere(t) {
		return
	}
	r := start(t)
	for _, tt := range []struct {
		name   string
		change func(*dns.Msg)
		want   int
	}{
		{"class CH", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"a transfer", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		{"an update", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, dns.RcodeFormatError},
		{"none", func(m *dns.Msg) { m.Question = nil }, dns.RcodeFormatError},
		{"a later EDNS", func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		{"EDNS", func(m *dns.Msg) { m.SetEdns0(1232, true) }, dns.RcodeSuccess},
		{"no recursion asked for", func(m *dns.Msg) { m.RecursionDesired = false }, dns.RcodeSuccess},
	} {
		answer := ask(t, r, "udp", "db.acme.internal.", "AAAA", tt.change)
		if answer.Rcode != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, dns.RcodeToString[answer.Rcode], dns.RcodeToString[tt.want])
		}
		if opt := answer.IsEdns0(); tt.name == "EDNS" && (opt == nil || opt.UDPSize() != maxDatagram || !opt.Do()) {
			t.Errorf("the answer has the options %v", opt)
		}
	}
	// An answer, or no message at all, gets no answer: else two servers could talk for ever.
	c, err := net.Dial("udp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	reply := new(dns.Msg)
	reply.SetQuestion("db.acme.internal.", dns.TypeAAAA)
	reply.Response = true
	raw, err := reply.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, datagram := range [][]byte{raw, []byte("x"), make([]byte, 11)} {
		if _, err := c.Write(datagram); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := c.Read(make([]byte, 512)); err == nil {
		t.Errorf("%d bytes came back", n)
	}
}

// What does not fit is cut, and there by TCP.
func TestLargeAnswers(t *testing.T) {
	if elsewhere(t) {
		return
	}
	r := start(t)
	n := acme()
	for i := range 200 {
		n.Workloads = append(n.Workloads, Workload{Name: fmt.Sprintf("c-%d", i), Service: "cache", Node: "n1", Healthy: true,
			Addresses: addrs(fmt.Sprintf("2001:db8:0:1::2:%x", i))})
	}
	r.replace(t, zoneFile, n.Zone())
	eventually(t, "the new zone is served", func() bool { return len(ask(t, r, "tcp", "cache.acme.internal.", "AAAA", nil).Answer) == 200 })
	for size, want := range map[uint16]int{0: dns.MinMsgSize, 600: 600, 100: dns.MinMsgSize, 1232: maxDatagram, 4096: maxDatagram, 65535: maxDatagram} {
		answer := ask(t, r, "udp", "cache.acme.internal.", "AAAA", func(m *dns.Msg) {
			if size > 0 {
				m.SetEdns0(size, false)
			}
		})
		answer.Compress = true
		if !answer.Truncated || answer.Len() > want || answer.Len() < want-64 {
			t.Errorf("asker takes %d: truncated %t, %d bytes, want a little under %d", size, answer.Truncated, answer.Len(), want)
		}
	}
}

// A change is visible within a second, and one that cannot be read changes nothing.
func TestZoneReplaced(t *testing.T) {
	if elsewhere(t) {
		return
	}
	r := start(t)
	cache := func() []string { return values(ask(t, r, "udp", "cache.acme.internal.", "AAAA", nil).Answer) }
	n := acme()
	var times []time.Duration
	for i := range 20 {
		n.Workloads = []Workload{{Name: "c-1", Service: "cache", Node: "n1", Healthy: true,
			Addresses: addrs(fmt.Sprintf("2001:db8:0:1::2:%x", i))}}
		r.replace(t, zoneFile, n.Zone())
		replaced, want := time.Now(), fmt.Sprintf("2001:db8:0:1::2:%x", i)
		eventually(t, want, func() bool { got := cache(); return len(got) == 1 && got[0] == want })
		times = append(times, time.Since(replaced))
	}
	slices.Sort(times)
	if usual := times[len(times)/2]; usual > time.Second {
		t.Errorf("a change took %s in most cases", usual)
	}
	before := strings.Count(r.logged(), "the old ones stay")
	for i, broken := range []string{"", "nonsense", string(n.Zone()[:200])} {
		r.replace(t, zoneFile, []byte(broken))
		eventually(t, "the broken zone is refused", func() bool { return strings.Count(r.logged(), "the old ones stay") > before+i })
		if got := cache(); len(got) != 1 {
			t.Errorf("after a broken zone there is %s", got)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, zoneFile)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the missing zone is noticed", func() bool { return strings.Contains(r.logged(), "no such file") })
	if got := cache(); len(got) != 1 {
		t.Errorf("without a zone there is %s", got)
	}
	r.replace(t, zoneFile, acme().Zone())
	eventually(t, "a good zone is taken again", func() bool { return len(cache()) == 0 })
}

// The process that answers is nobody, and cannot be root again.
func TestPrivileges(t *testing.T) {
	if elsewhere(t) {
		return
	}
	r := start(t)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", r.process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has just ended
		}
		for _, want := range []string{"Uid:\t60853\t60853\t60853\t60853\n", "Gid:\t60853\t60853\t60853\t60853\n", "Groups:\t \n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", thread, want, text)
			}
		}
	}
}

// Whoever asks too often, or keeps too many connections, is the only one to suffer.
func TestLimits(t *testing.T) {
	if elsewhere(t) {
		return
	}
	r := start(t)
	address(t, addr("2001:db8:0:1::7"))
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8:0:1::7")}}
	kept := 0
	for range connectionsEach + 10 {
		c, err := from.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		question := new(dns.Msg)
		question.SetQuestion("db.acme.internal.", dns.TypeAAAA)
		if (&dns.Conn{Conn: c}).WriteMsg(question) == nil {
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := (&dns.Conn{Conn: c}).ReadMsg(); err == nil {
				kept++
			}
		}
	}
	if kept != connectionsEach {
		t.Errorf("one asker has %d connections, want %d", kept, connectionsEach)
	}
	if answer := ask(t, r, "tcp", "db.acme.internal.", "AAAA", nil); len(answer.Answer) != 1 {
		t.Errorf("another asker gets %s", answer)
	}
}

func TestRates(t *testing.T) {
	r := rates{buckets: map[netip.Addr]bucket{}}
	now, one, other := time.Unix(0, 0), addr("2001:db8::1"), addr("2001:db8::2")
	count := func(a netip.Addr) (n int) {
		for range 2 * ratePerSource {
			if r.allow(a, now) {
				n++
			}
		}
		return n
	}
	if n := count(one); n != ratePerSource {
		t.Errorf("at once %d questions are answered, want %d", n, ratePerSource)
	}
	if n := count(other); n != ratePerSource {
		t.Errorf("of another %d, want %d", n, ratePerSource)
	}
	now = now.Add(100 * time.Millisecond)
	if n := count(one); n != ratePerSource/10 {
		t.Errorf("after a tenth of a second %d, want %d", n, ratePerSource/10)
	}
	for i := range 3 * maxSources {
		r.allow(netip.AddrFrom16([16]byte{14: byte(i >> 8), 15: byte(i)}), now)
	}
	if len(r.buckets) > maxSources {
		t.Errorf("%d sources are remembered", len(r.buckets))
	}
}

// dig, where there is one, says the same.
func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skipf("there is no dig here: %v", err)
	}
	if elsewhere(t) {
		return
	}
	start(t)
	out, err := exec.Command(dig, "+short", "@::1", "AAAA", "db.acme.internal").CombinedOutput()
	if err != nil || string(out) != "2001:db8:0:1::100\n" {
		t.Errorf("%v: %s", err, out)
	}
}
