package resolver

import (
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"
)

// answer fills in the reply to a question about a name of our own zones, and tells
// whether it is one.
func (z *records) answer(reply *dns.Msg, q dns.Question) bool {
	name := strings.ToLower(q.Name)
	soa := z.zone(name)
	if soa == nil {
		return false
	}
	reply.Authoritative = true
	sets := z.sets[name]
	set := sets[q.Qtype]
	switch {
	case q.Qtype == dns.TypeANY && len(sets) > 0: // RFC 8482, section 4.2
		reply.Answer = []dns.RR{&dns.HINFO{Hdr: header(q.Name, dns.TypeHINFO), Cpu: "RFC8482"}}
	case len(set) > 0:
		reply.Answer = named(set, q.Name)
	default:
		if !z.exists[name] {
			reply.Rcode = dns.RcodeNameError
		}
		reply.Ns = []dns.RR{soa}
	}
	return true
}

// named gives records under the name as it was asked, whose case the asker may
// compare, in any order, so that what asks takes turns among a service's workloads.
func named(set []dns.RR, name string) []dns.RR {
	list := make([]dns.RR, len(set))
	for i, j := range rand.Perm(len(set)) {
		list[i] = dns.Copy(set[j])
		list[i].Header().Name = name
	}
	return list
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}
