package resolver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// maxZone bounds a master file, in bytes.
const maxZone = 64 << 20

// records is what a master file says, by lower-case name.
type records struct {
	apexes map[string]*dns.SOA
	sets   map[string]map[uint16][]dns.RR
	exists map[string]bool // with the names that only have others below them (RFC 8020)
}

// parseZone reads a master file. It holds only what Network.Zone writes: no
// aliases, wildcards or delegations, nothing outside a zone that begins in it.
func parseZone(text []byte) (*records, error) {
	if len(text) > maxZone {
		return nil, fmt.Errorf("the zone has %d bytes and may have %d", len(text), maxZone)
	}
	if !bytes.HasSuffix(text, []byte(zoneEnd)) {
		return nil, fmt.Errorf("the zone is not whole: its last line is not %q", strings.TrimSpace(zoneEnd))
	}
	z := &records{apexes: map[string]*dns.SOA{}, sets: map[string]map[uint16][]dns.RR{}, exists: map[string]bool{}}
	parser := dns.NewZoneParser(bytes.NewReader(text), ".", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if err := z.add(rr); err != nil {
			return nil, err
		}
	}
	if err := parser.Err(); err != nil {
		return nil, err
	}
	if len(z.apexes) == 0 {
		return nil, errors.New("the zone has no SOA record")
	}
	for name := range z.sets {
		if err := z.connect(name); err != nil {
			return nil, err
		}
	}
	return z, nil
}

func (z *records) add(rr dns.RR) error {
	h := rr.Header()
	name := strings.ToLower(h.Name)
	switch rr := rr.(type) {
	case *dns.SOA:
		if z.apexes[name] != nil {
			return fmt.Errorf("%s has two SOA records", name)
		}
		z.apexes[name] = rr
	case *dns.NS, *dns.AAAA, *dns.PTR, *dns.TXT:
	default:
		return fmt.Errorf("%s has a record of type %s; want SOA, NS, AAAA, PTR or TXT", name, dns.Type(h.Rrtype))
	}
	if h.Class != dns.ClassINET || strings.HasPrefix(name, "*") {
		return fmt.Errorf("%s: want names of class IN without wildcards", name)
	}
	if z.sets[name] == nil {
		z.sets[name] = map[uint16][]dns.RR{}
	}
	z.sets[name][h.Rrtype] = append(z.sets[name][h.Rrtype], rr)
	return nil
}

// connect marks a name and those above it, up to its zone's apex, as existing.
func (z *records) connect(name string) error {
	for n := name; n != ""; n = parent(n) {
		z.exists[n] = true
		if z.apexes[n] != nil {
			return nil
		}
	}
	return fmt.Errorf("%s is in no zone of the file", name)
}

// parent is the name without its first label; "" for the root's.
func parent(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return ""
	}
	return name[next:]
}

// zone gives the SOA of the zone that a name is in, or nil.
func (z *records) zone(name string) *dns.SOA {
	for n := name; n != ""; n = parent(n) {
		if soa := z.apexes[n]; soa != nil {
			return soa
		}
	}
	return nil
}
