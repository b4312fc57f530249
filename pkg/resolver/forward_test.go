package resolver

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// upstream is a server at 127.0.0.N:53 that counts what it is asked.
func upstream(t *testing.T, address string, handle func(dns.ResponseWriter, *dns.Msg)) *atomic.Int64 {
	t.Helper()
	var asked atomic.Int64
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		s := &dns.Server{Addr: address + ":53", Net: network, NotifyStartedFunc: func() { close(started) },
			Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) { asked.Add(1); handle(w, m) })}
		go func() {
			if err := s.ListenAndServe(); err != nil {
				t.Errorf("upstream: %v", err)
			}
		}()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return &asked
}

// say answers with records.
func say(rcode int, list ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, asked *dns.Msg) {
		m := new(dns.Msg)
		m.SetRcode(asked, rcode)
		m.RecursionAvailable = true
		for _, text := range list {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err) // a test's own text
			}
			m.Answer = append(m.Answer, rr)
		}
		if opt := asked.IsEdns0(); opt != nil {
			m.SetEdns0(1232, opt.Do())
		}
		_ = w.WriteMsg(m)
	}
}

// askForwarded is ask for what a server answers, with how often it was asked: on a machine
// that is too busy a server does not answer in time, and whoever asks asks again.
func askForwarded(t *testing.T, r *running, transport, name, kind string, change func(*dns.Msg)) (answer *dns.Msg, times int64) {
	t.Helper()
	for times = 1; ; times++ {
		answer = ask(t, r, transport, name, kind, change)
		if answer.Rcode != dns.RcodeServerFailure || times == 5 {
			return answer, times
		}
	}
}

func TestForward(t *testing.T) {
	if elsewhere(t) {
		return
	}
	asked := upstream(t, "127.0.0.2", func(w dns.ResponseWriter, m *dns.Msg) {
		switch m.Question[0].Name {
		case "www.example.com.":
			say(dns.RcodeSuccess, "www.example.com. 300 IN AAAA 2001:db8:77::80")(w, m)
		case "large.example.com.":
			large := new(dns.Msg)
			large.SetReply(m)
			if large.Truncated = w.RemoteAddr().Network() == "udp"; !large.Truncated {
				say(dns.RcodeSuccess, "large.example.com. 300 IN TXT \"all of it\"")(w, m)
				return
			}
			_ = w.WriteMsg(large)
		case "another.example.com.":
			m.Question[0].Name = "forged.example.com."
			say(dns.RcodeSuccess, "forged.example.com. 300 IN AAAA 2001:db8:66::66")(w, m)
		default:
			say(dns.RcodeNameError)(w, m)
		}
	})
	r := start(t, addr("127.0.0.2"))

	answer, _ := askForwarded(t, r, "udp", "www.example.com.", "AAAA", func(m *dns.Msg) { m.SetEdns0(1232, true) })
	if len(answer.Answer) != 1 || answer.Authoritative || !answer.RecursionAvailable || answer.Answer[0].Header().Ttl != 300 {
		t.Errorf("forwarded is answered with\n%s", answer)
	}
	if opts := len(answer.Extra); opts != 1 || answer.IsEdns0() == nil {
		t.Errorf("there are %d additional records, want the options alone", opts)
	}
	if answer, _ := askForwarded(t, r, "udp", "nowhere.example.com.", "AAAA", nil); answer.Rcode != dns.RcodeNameError || answer.IsEdns0() != nil {
		t.Errorf("a name that is nowhere:\n%s", answer)
	}
	if answer, _ := askForwarded(t, r, "udp", "large.example.com.", "TXT", nil); !answer.Truncated {
		t.Errorf("a large answer by UDP:\n%s", answer)
	}
	if answer, _ := askForwarded(t, r, "tcp", "large.example.com.", "TXT", nil); answer.Truncated || len(answer.Answer) != 1 {
		t.Errorf("a large answer by TCP:\n%s", answer)
	}
	if answer := ask(t, r, "udp", "another.example.com.", "AAAA", nil); answer.Rcode != dns.RcodeServerFailure || len(answer.Answer) != 0 {
		t.Errorf("the answer to another question:\n%s", answer)
	}

	before := asked.Load()
	for _, name := range []string{"db.globex.internal.", "internal.", "nothing.acme.internal."} {
		if answer := ask(t, r, "udp", name, "AAAA", nil); answer.Rcode == dns.RcodeRefused {
			t.Errorf("%s:\n%s", name, answer)
		}
	}
	if answer := ask(t, r, "udp", "www.example.com.", "AAAA", func(m *dns.Msg) { m.RecursionDesired = false }); answer.Rcode != dns.RcodeRefused {
		t.Errorf("without asking for recursion:\n%s", answer)
	}
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d questions were forwarded that are nobody else's business", n)
	}

	r.replace(t, forwardFile, Forward([]netip.Addr{addr("127.0.0.3"), addr("127.0.0.2")})) // nobody is at the first
	eventually(t, "the second server is asked", func() bool {
		return ask(t, r, "udp", "www.example.com.", "AAAA", nil).Rcode == dns.RcodeSuccess
	})
	r.replace(t, forwardFile, Forward([]netip.Addr{addr("127.0.0.3")}))
	eventually(t, "nobody answers", func() bool {
		return ask(t, r, "udp", "www.example.com.", "AAAA", nil).Rcode == dns.RcodeServerFailure
	})
	r.replace(t, forwardFile, Forward(nil))
	eventually(t, "nobody is asked", func() bool {
		answer := ask(t, r, "udp", "www.example.com.", "AAAA", nil)
		return answer.Rcode == dns.RcodeRefused && !answer.RecursionAvailable
	})
}

// A server that sends questions back gets no answer to them, so that nothing goes
// round.
func TestForwardLoop(t *testing.T) {
	if elsewhere(t) {
		return
	}
	const server = "2001:db8:0:2::53"
	address(t, addr(server))
	back := dns.Client{Timeout: 20 * time.Second, Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(server)}}}
	asked := upstream(t, "["+server+"]", func(w dns.ResponseWriter, m *dns.Msg) {
		answer, _, err := back.Exchange(m, "[::1]:53")
		if err != nil {
			t.Errorf("sent back: %v", err)
			return
		}
		_ = w.WriteMsg(answer)
	})
	r := start(t, addr(server))
	answer, times := askForwarded(t, r, "udp", "www.example.com.", "AAAA", nil)
	if answer.Rcode != dns.RcodeRefused {
		t.Errorf("what goes round is answered with\n%s", answer)
	}
	if n := asked.Load(); n < 1 || n > times {
		t.Errorf("asked %d times, it went round %d times", times, n)
	}
}
