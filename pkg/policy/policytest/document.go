package policytest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/zosnet/zosnet/pkg/spec"
)

var (
	networkNames = []string{"acme", "globex", "initech"}
	serviceNames = []string{"web", "db", "api", "job"}
	ports        = []uint16{22, 25, 53, 67, 68, 80, 443, 546, 547, 1000, 5432, 8000, 8063, 8064, 8100, 65535}
	icmpTypes    = []uint16{1, 128, 129, 134, 135, 139, 140, 144, 200, 255}

	// Prefixes that rules name: of the world outside, of tenant space, and wide ones.
	cidrs = []string{
		"2001:db8:77::/48", "2001:db8:77:1::/64", "2001:db8:77:1::5/128", "2001:db8:78::/47", "2001:db8::/32",
		"2001:db8:100::/48", "2001:db8:100:1::/64", "2001:db8:100:2::/64", "2001:db8:100:1::10/128",
		"2001:db8:100:1::10/124", "2001:db8:100:2::11/128", "fe80::/10", "::/0", "2000::/3", "2001:db8:9::/48",
		"203.0.113.0/24", "0.0.0.0/0",
	}
)

// pick gives one of a list.
func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// chance is true in percent of a hundred cases.
func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// DocumentText gives the text of a valid NETWORK.yaml with random services,
// rules and openings. Peers are networks whose services its rules may name.
func DocumentText(r *rand.Rand, name string, peers []string) string {
	d := &documentWriter{r: r, peers: peers, services: serviceNames[:1+r.IntN(len(serviceNames))]}
	d.line("network: %s", name)
	d.line("nodes: [n1]")
	action := func() string { return pick(r, []string{"allow", "deny"}) }
	d.line("default: {inside: %s, inbound: %s, outbound: %s}", action(), action(), action())
	d.line("services:")
	for _, s := range d.services {
		d.line("  %s: {ports: %s}", s, d.ports())
	}
	d.writeAccess()
	d.writeRules()
	d.writeExpose()
	return d.text()
}

// Document gives a decoded random document.
func Document(r *rand.Rand, name string, peers []string) *spec.Network {
	text := DocumentText(r, name, peers)
	doc, _, err := spec.DecodeNetwork(name+".yaml", []byte(text))
	if err != nil {
		panic(fmt.Sprintf("the random document of %s is not valid: %v\n%s", name, err, text))
	}
	return doc
}

type documentWriter struct {
	r        *rand.Rand
	peers    []string
	services []string
	lines    []string
	access   []string
}

func (d *documentWriter) line(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *documentWriter) text() string { return strings.Join(d.lines, "\n") + "\n" }

func (d *documentWriter) writeAccess() {
	if !chance(d.r, 30) {
		return
	}
	d.line("access:")
	for _, name := range []string{"alice", "bob"}[:1+d.r.IntN(2)] {
		key := make([]byte, 32)
		for i := range key {
			key[i] = byte(d.r.Uint32())
		}
		d.access = append(d.access, name)
		allow := ""
		for range d.r.IntN(3) {
			allow += pick(d.r, d.services) + ", "
		}
		if allow != "" {
			allow = ", allow: [" + allow + "]"
			if chance(d.r, 40) {
				allow += ", ports: " + d.ports()
			}
		}
		d.line("  %s: {publicKey: %q%s}", name, base64.StdEncoding.EncodeToString(key), allow)
	}
}

// writeRules writes the rules: now and then so many that their bits take several
// words.
func (d *documentWriter) writeRules() {
	count := d.r.IntN(12)
	if chance(d.r, 10) {
		count = 60 + d.r.IntN(100)
	}
	if count == 0 {
		return
	}
	d.line("rules:")
	for range count {
		rule := fmt.Sprintf("from: %s, to: %s", d.selectors(), d.selectors())
		if chance(d.r, 60) {
			rule += ", ports: " + d.ports()
		}
		if chance(d.r, 50) {
			rule += ", log: true"
		}
		d.line("  - %s: {%s}", pick(d.r, []string{"allow", "deny"}), rule)
	}
}

func (d *documentWriter) writeExpose() {
	if !chance(d.r, 60) {
		return
	}
	d.line("expose:")
	for range 1 + d.r.IntN(3) {
		entry := "service: " + pick(d.r, d.services)
		switch {
		case chance(d.r, 15):
			entry += ", ipv4: auto, ports: [tcp/443]"
		case chance(d.r, 60):
			entry += ", ports: " + d.ports()
		}
		d.line("  - {%s}", entry)
	}
}

func (d *documentWriter) selectors() string {
	list := []string{d.selector()}
	for chance(d.r, 25) {
		list = append(list, d.selector())
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func (d *documentWriter) selector() string {
	switch n := d.r.IntN(100); {
	case n < 35:
		return pick(d.r, d.services)
	case n < 45:
		return "inside"
	case n < 55:
		return "outside"
	case n < 62:
		return "any"
	case n < 80 && len(d.peers) > 0:
		return pick(d.r, d.peers) + "/" + pick(d.r, append([]string{"gone"}, serviceNames...))
	case n < 86 && len(d.access) > 0:
		return pick(d.r, d.access)
	}
	return fmt.Sprintf("%q", pick(d.r, cidrs))
}

func (d *documentWriter) ports() string {
	var list []string
	for len(list) == 0 || chance(d.r, 40) {
		list = append(list, d.port())
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func (d *documentWriter) port() string {
	proto := pick(d.r, []string{"tcp", "tcp", "udp", "sctp"})
	switch n := d.r.IntN(100); {
	case n < 8:
		return "any"
	case n < 20:
		return proto + "/any"
	case n < 32:
		return fmt.Sprintf("icmpv6/%d", pick(d.r, icmpTypes))
	case n < 35:
		return "icmpv6/any"
	case n < 70:
		return fmt.Sprintf("%s/%d", proto, pick(d.r, ports))
	}
	a, b := pick(d.r, ports), pick(d.r, ports)
	return fmt.Sprintf("%s/%d-%d", proto, min(a, b), max(a, b))
}
