package resolver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	serverTime  = 2 * time.Second // that one server may take
	forwardTime = 5 * time.Second // that all may take together
	dnsPort     = 53
)

// parseForward reads the "nameserver" lines of a resolv.conf(5).
func parseForward(text []byte) ([]netip.AddrPort, error) {
	var servers []netip.AddrPort
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) != 2 || words[0] != "nameserver" {
			return nil, fmt.Errorf("line %q: want nameserver and an address", strings.TrimSpace(string(line)))
		}
		a, err := netip.ParseAddr(words[1])
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", strings.TrimSpace(string(line)), err)
		}
		servers = append(servers, netip.AddrPortFrom(a, dnsPort))
	}
	return servers, nil
}

// isServer tells whether an address is one that questions are forwarded to. What
// such a one asks is not forwarded: it would come back.
func isServer(servers []netip.AddrPort, a netip.Addr) bool {
	return slices.ContainsFunc(servers, func(s netip.AddrPort) bool { return s.Addr() == a })
}

// forward asks the servers, one after the other, until one answers.
func forward(ctx context.Context, servers []netip.AddrPort, asked *dns.Msg, network string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardTime)
	defer cancel()
	query := new(dns.Msg)
	query.SetQuestion(asked.Question[0].Name, asked.Question[0].Qtype)
	query.CheckingDisabled = asked.CheckingDisabled
	if opt := asked.IsEdns0(); opt != nil {
		query.SetEdns0(maxDatagram, opt.Do())
	}
	var errs []error
	for _, server := range servers {
		answer, err := exchange(ctx, server, query, network)
		if err == nil {
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", server.Addr(), err))
	}
	return nil, errors.Join(errs...)
}

// exchange asks one server. An answer that did not fit is asked for again by TCP
// where the asker itself came by TCP.
func exchange(ctx context.Context, server netip.AddrPort, query *dns.Msg, network string) (*dns.Msg, error) {
	for _, by := range []string{"udp", "tcp"} {
		client := dns.Client{Net: by, Timeout: serverTime, UDPSize: maxDatagram} // a new port and number each time
		answer, _, err := client.ExchangeContext(ctx, query, server.String())
		if err != nil {
			return nil, err
		}
		if len(answer.Question) != 1 || !strings.EqualFold(answer.Question[0].Name, query.Question[0].Name) ||
			answer.Question[0].Qtype != query.Question[0].Qtype {
			return nil, errors.New("the answer is to another question")
		}
		if !answer.Truncated || network == "udp" || by == "tcp" {
			return answer, nil
		}
	}
	return nil, errors.New("no answer") // the loop returns
}
