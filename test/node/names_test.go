package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

const (
	namesAcme   = "network: acme\nnodes: [n1]\ndefault: {inside: deny, outbound: deny}\nservices: {web: {}, db: {}}\n"
	namesGlobex = "network: globex\nnodes: [n1]\nservices: {api: {}}\n"
)

// resolve asks a resolver and gives the addresses, or the code of a refusal.
func resolve(ctx context.Context, from *lab.Machine, transport string, at netip.Addr, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := from.Dial(ctx, transport, netip.AddrPortFrom(at, 53).String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	question := new(dns.Msg)
	question.SetQuestion(name, dns.TypeAAAA)
	client := dns.Client{Net: transport, Timeout: within}
	answer, _, err := client.ExchangeWithConnContext(ctx, question, &dns.Conn{Conn: c})
	if err != nil {
		return nil, err
	}
	if answer.Rcode != dns.RcodeSuccess {
		return nil, errors.New(dns.RcodeToString[answer.Rcode])
	}
	list := []string{}
	for _, rr := range answer.Answer {
		if aaaa, ok := rr.(*dns.AAAA); ok {
			list = append(list, aaaa.AAAA.String())
		}
	}
	slices.Sort(list)
	return list, nil
}

// TestNames: a network's workloads find each other by name, whatever its rules, and
// nobody else is told.
func TestNames(t *testing.T) {
	const server = "2001:db8:2::2" // outside
	n := start(t, lab.Config{NodeDocument: "dns: [" + server + "]\n"})
	stop := serveNames(t, n, server)
	defer stop()
	n.apply(namesAcme, namesGlobex)
	web, db, api := n.attach("acme", "web", "web-1"), n.attach("acme", "db", "db-1"), n.attach("globex", "api", "api-1")
	acme, globex := resolverOf(web), resolverOf(api)
	expect := func(what string, from *lab.Machine, at netip.Addr, name, want string) {
		t.Helper()
		for _, transport := range []string{"udp", "tcp"} {
			n.eventually(10*time.Second, func() error {
				got, err := resolve(t.Context(), from, transport, at, name)
				if text := fmt.Sprint(got, err); text != want {
					return fmt.Errorf("%s: %s by %s: %s, want %s", what, name, transport, text, want)
				}
				return nil
			})
		}
	}
	answer := func(addresses ...netip.Addr) string {
		var list []string
		for _, a := range addresses {
			list = append(list, a.String())
		}
		slices.Sort(list)
		return fmt.Sprint(list, nil)
	}
	expect("a workload", web.Machine, acme, "db-1.acme.internal.", answer(db.Address))
	expect("a service", web.Machine, acme, "db.acme.internal.", answer(db.Address))
	expect("a service on this node", db.Machine, acme, "web.n1.acme.internal.", answer(web.Address))
	expect("nobody", web.Machine, acme, "mail.acme.internal.", "[] NXDOMAIN")
	expect("another network", web.Machine, acme, "api.globex.internal.", "[] NXDOMAIN")
	expect("what is forwarded", web.Machine, acme, "www.example.com.", answer(netip.MustParseAddr("2001:db8:77::80")))

	second := n.attach("acme", "db", "db-2")
	expect("a service with one more", web.Machine, acme, "db.acme.internal.", answer(db.Address, second.Address))
	var took []time.Duration // of three: a machine may be busy for a moment
	for _, name := range []string{"cache-1", "cache-2", "cache-3"} {
		w := n.attach("acme", "web", name)
		attached := time.Now()
		expect("a new workload", web.Machine, acme, name+".acme.internal.", answer(w.Address))
		took = append(took, time.Since(attached))
	}
	if quickest := slices.Min(took); quickest > time.Second {
		t.Errorf("new workloads were found by name, by UDP and by TCP, after %s: want a second", took)
	}

	tries := []func(){func() {
		if got, err := resolve(t.Context(), web.Machine, "udp", globex, "api.globex.internal."); err == nil {
			t.Errorf("acme is told %s by globex's resolver", got)
		}
	}}
	for from, name := range map[*lab.Machine]string{api.Machine: "another tenant", n.Outside: "a stranger", n.Router: "the router"} {
		tries = append(tries, func() { n.connects(from, netip.AddrPortFrom(acme, 53), probe.Silent) }, func() {
			if got, err := resolve(t.Context(), from, "udp", acme, "db.acme.internal."); err == nil {
				t.Errorf("%s is told %s by acme's resolver", name, got)
			}
		})
	}
	together(tries...)

	// What a program in the namespace does: getaddrinfo, with the search domain.
	out, err := exec.CommandContext(t.Context(), "ip", "netns", "exec", "acme.web-1", "getent", "ahostsv6", "db-1").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), db.Address.String()+" ") {
		t.Errorf("getent of db-1: %v: %s", err, out)
	}

	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	expect("with the daemon dead", web.Machine, acme, "db.acme.internal.", answer(db.Address, second.Address))
	before := resolverProcess(t, n, "acme")
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("with the daemon back", web.Machine, acme, "db.acme.internal.", answer(db.Address, second.Address))
	if after := resolverProcess(t, n, "acme"); after != before {
		t.Errorf("the resolver was process %d and is %d: it was not adopted", before, after)
	}
	if err := unix.Kill(before, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expect("with the resolver killed", web.Machine, acme, "db.acme.internal.", answer(db.Address, second.Address))

	if _, err := n.daemon.CLI(t.Context(), "delete", "globex", "--force"); err != nil {
		t.Fatal(err)
	}
	n.eventually(10*time.Second, func() error {
		if pid := resolverProcess(t, n, "globex"); pid != 0 {
			return fmt.Errorf("globex is gone and its resolver still runs as process %d", pid)
		}
		return nil
	})
	for namespace, want := range map[string]bool{"acme.web-1": true, "globex.api-1": false} {
		if _, err := os.Stat("/etc/netns/" + namespace + "/resolv.conf"); want != (err == nil) {
			t.Errorf("resolv.conf of %s: %v, want one: %t", namespace, err, want)
		}
	}
}

// resolverOf is PREFIX::53 of a workload's network.
func resolverOf(w *lab.Workload) netip.Addr {
	raw := w.Address.As16()
	copy(raw[8:], []byte{0, 0, 0, 0, 0, 0, 0, 0x53})
	return netip.AddrFrom16(raw)
}

// resolverProcess is the process that answers for a network of the lab, 0 where there
// is none.
func resolverProcess(t *testing.T, n *node, network string) int {
	t.Helper()
	dir := n.Path("run/dns/" + network)
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "dns\x00--dir\x00"+dir+"\x00") {
			var pid int
			_, _ = fmt.Sscanf(path, "/proc/%d/", &pid)
			return pid
		}
	}
	return 0
}

// serveNames answers on the outside that every name is 2001:db8:77::80.
func serveNames(t *testing.T, n *node, address string) (stop func()) {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(asked)
		rr, err := dns.NewRR(asked.Question[0].Name + " 300 IN AAAA 2001:db8:77::80")
		if err == nil {
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m)
	})
	datagrams, err := n.Outside.ListenPacket("udp", "["+address+"]:53")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: datagrams, Handler: handler}
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go func() { _ = s.ActivateAndServe() }() // ended by stop
	<-started
	return func() { _ = s.Shutdown() }
}
