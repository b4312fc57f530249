package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
)

// Addresses of the ways that are the kernel's own (RFC 3849).
var (
	routedClient  = netip.MustParseAddr("2001:db8:a::2")
	routedServer  = netip.MustParseAddr("2001:db8:b::2")
	bridgedClient = netip.MustParseAddr("2001:db8:c::2")
	bridgedServer = netip.MustParseAddr("2001:db8:c::3")
	cableClient   = netip.MustParseAddr("2001:db8:e::2")
	cableServer   = netip.MustParseAddr("2001:db8:e::3")

	guardedStranger = netip.MustParseAddr("2001:db8:d::1")
	guardedHost     = netip.MustParseAddr("2001:db8:d::2")
)

// routed is a client and a server with a router between them, filtered by rules.
func (b *bench) routed(ctx context.Context, name, rules string) (*pair, error) {
	s, err := b.makeSite(name, "client", "middle", "server")
	if err != nil {
		return nil, err
	}
	if err := s.machine("middle").Sysctl("net/ipv6/conf/all/forwarding", "1"); err != nil {
		return nil, err
	}
	err = s.ip(ctx, `
		client link add eth0 type veth peer name client netns @middle
		server link add eth0 type veth peer name server netns @middle
		middle address add 2001:db8:a::1/64 dev client nodad
		middle address add 2001:db8:b::1/64 dev server nodad
		client address add 2001:db8:a::2/64 dev eth0 nodad
		server address add 2001:db8:b::2/64 dev eth0 nodad
		middle link set client up
		middle link set server up
		client link set eth0 up
		server link set eth0 up
		client route add default via 2001:db8:a::1
		server route add default via 2001:db8:b::1
	`)
	if err != nil {
		return nil, err
	}
	return b.filtered(ctx, s, rules, end{s.machine("client"), routedClient}, end{s.machine("server"), routedServer})
}

// bridged is a client and a server on one bridge, which hands what it switches to
// the firewall.
func (b *bench) bridged(ctx context.Context, name, rules string) (*pair, error) {
	s, err := b.makeSite(name, "client", "middle", "server")
	if err != nil {
		return nil, err
	}
	err = s.ip(ctx, `
		middle link add br0 type bridge mcast_snooping 0
		client link add eth0 type veth peer name client netns @middle
		server link add eth0 type veth peer name server netns @middle
		middle link set client master br0
		middle link set server master br0
		client address add 2001:db8:c::2/64 dev eth0 nodad
		server address add 2001:db8:c::3/64 dev eth0 nodad
		middle link set br0 up
		middle link set client up
		middle link set server up
		client link set eth0 up
		server link set eth0 up
	`)
	if err != nil {
		return nil, err
	}
	if err := s.machine("middle").Sysctl("net/bridge/bridge-nf-call-ip6tables", "1"); err != nil {
		return nil, fmt.Errorf("%w (is br_netfilter loaded? modprobe br_netfilter)", err)
	}
	return b.filtered(ctx, s, rules, end{s.machine("client"), bridgedClient}, end{s.machine("server"), bridgedServer})
}

// cable is a client and a server with nothing between them: what measuring costs.
func (b *bench) cable(ctx context.Context) (*pair, error) {
	s, err := b.makeSite("cable", "client", "server")
	if err != nil {
		return nil, err
	}
	err = s.ip(ctx, `
		client link add eth0 type veth peer name eth0 netns @server
		client address add 2001:db8:e::2/64 dev eth0 nodad
		server address add 2001:db8:e::3/64 dev eth0 nodad
		client link set eth0 up
		server link set eth0 up
	`)
	if err != nil {
		return nil, err
	}
	p, err := newPair(ctx, end{s.machine("client"), cableClient}, end{s.machine("server"), cableServer}, s.machine("server"), endLink)
	if err != nil {
		return nil, err
	}
	b.after(p.close)
	return p, nil
}

// filtered loads the rules, makes the pair, and makes sure that connection
// tracking sees its packets where the rules ask for it.
func (b *bench) filtered(ctx context.Context, s site, rules string, client, server end) (*pair, error) {
	if err := s.nft(ctx, "middle", rules); err != nil {
		return nil, err
	}
	p, err := newPair(ctx, client, server, s.machine("middle"), "client")
	if err != nil {
		return nil, err
	}
	b.after(p.close)
	if !strings.Contains(rules, "ct state") {
		return p, nil
	}
	return p, isTracked(s.machine("middle"), p)
}

// isTracked fails unless connection tracking learns of every flow that is sent.
func isTracked(m *lab.Machine, p *pair) (err error) {
	taking, err := p.takeFrames()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, taking.Close()) }()
	tracked := 0
	for range 10 { // what is lost once comes again
		if _, err := p.source.send(1); err != nil {
			return err
		}
		if tracked, err = trackedFlows(m); err != nil {
			return err
		}
		if tracked >= flows {
			return nil
		}
	}
	return fmt.Errorf("connection tracking knows %d flows of %d: what is measured is not what it says", tracked, flows)
}

func trackedFlows(m *lab.Machine) (count int, err error) {
	err = m.Do(func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil {
			return err
		}
		count, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err
	})
	return count, err
}

// oneRule is connection tracking with one rule, which accepts.
const oneRule = `
table inet filter {
	chain forward {
		type filter hook forward priority filter; policy drop
		ct state new,established,related accept
	}
}
`

// tenRules is connection tracking with the rules of the document that zosnet gets:
// of ten the last accepts, also neighbour discovery, which is not tracked.
func tenRules() string {
	var b strings.Builder
	b.WriteString("table inet filter {\nchain forward {\ntype filter hook forward priority filter; policy drop\n")
	for i := range 9 {
		fmt.Fprintf(&b, "ip6 saddr %s ip6 daddr %s udp dport %d drop\n", bridgedClient, bridgedServer, otherPort+i)
	}
	b.WriteString("ct state new,established,related,untracked accept\n}\n}\n")
	return b.String()
}
