package resolver

import (
	"context"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// maxDatagram is the most that is sent in one datagram, in bytes: what passes
// without fragments wherever IPv6 does (DNS flag day 2020).
const maxDatagram = 1232

// ServeDNS answers one question (dns.Handler). Messages that are no question have
// been sorted out before it.
func (s *server) ServeDNS(w dns.ResponseWriter, asked *dns.Msg) {
	network, from := w.RemoteAddr().Network(), source(w.RemoteAddr())
	if !s.rates.allow(from, time.Now()) {
		if network != "udp" {
			_ = w.Close() // the asker is at fault
		}
		return
	}
	reply := s.reply(asked, from, network)
	size := dns.MaxMsgSize
	if network == "udp" {
		size = datagramSize(asked.IsEdns0())
	}
	reply.Compress = true
	reply.Truncate(size)
	if err := w.WriteMsg(reply); err != nil {
		s.log.Debug("send an answer", "to", from, "error", err)
	}
}

// datagramSize is how much the asker takes (RFC 6891, section 6.2.5).
func datagramSize(opt *dns.OPT) int {
	if opt == nil {
		return dns.MinMsgSize
	}
	return min(max(int(opt.UDPSize()), dns.MinMsgSize), maxDatagram)
}

// reply makes the answer to a question.
func (s *server) reply(asked *dns.Msg, from netip.Addr, network string) *dns.Msg {
	servers := *s.servers.Load()
	reply := new(dns.Msg)
	reply.SetReply(asked)
	reply.RecursionAvailable = len(servers) > 0
	opt := asked.IsEdns0()
	if opt != nil {
		reply.SetEdns0(maxDatagram, opt.Do())
	}
	q := asked.Question[0]
	switch {
	case opt != nil && opt.Version() != 0:
		reply.Rcode = dns.RcodeBadVers
	case q.Qclass != dns.ClassINET, q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR:
		reply.Rcode = dns.RcodeRefused
	case s.records.Load().answer(reply, q):
	case !asked.RecursionDesired, len(servers) == 0, isServer(servers, from):
		reply.Rcode = dns.RcodeRefused
	default:
		s.forwarded(reply, servers, asked, from, network)
	}
	return reply
}

// complain says that servers do not answer, now and then. It does not say to what:
// that is the tenant's business.
func (s *server) complain(err error) {
	now := time.Now().UnixNano()
	if last := s.complained.Load(); now-last > int64(complaintEvery) && s.complained.CompareAndSwap(last, now) {
		s.log.Warn("forward questions", "error", err)
	}
}

// forwarded fills in what a server says.
func (s *server) forwarded(reply *dns.Msg, servers []netip.AddrPort, asked *dns.Msg, from netip.Addr, network string) {
	reply.Rcode = dns.RcodeServerFailure
	if !s.forwards.take(from) {
		return
	}
	defer s.forwards.leave(from)
	answer, err := forward(context.Background(), servers, asked, network)
	if err != nil {
		s.complain(err)
		return
	}
	reply.Rcode, reply.Truncated, reply.AuthenticatedData = answer.Rcode, answer.Truncated, answer.AuthenticatedData
	reply.Answer, reply.Ns = answer.Answer, answer.Ns
	for _, rr := range answer.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			reply.Extra = append([]dns.RR{rr}, reply.Extra...)
		}
	}
}
