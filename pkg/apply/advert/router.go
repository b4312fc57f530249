package advert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Intervals of RFC 4861, 6.2.1 and 10.
const (
	maxInterval        = 600 * time.Second
	minInterval        = 200 * time.Second // 0.33 × maxInterval
	maxInitialInterval = 16 * time.Second
	initialCount       = 3
	maxSolicitedDelay  = 500 * time.Millisecond
	minDelay           = 3 * time.Second // between multicast advertisements
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// Router advertises a network on one interface, unasked now and then and whenever a
// host asks.
type Router struct {
	network Network
	log     *slog.Logger
	conn    *ipv6.PacketConn
	close   func() error
	cancel  context.CancelFunc
	group   sync.WaitGroup
}

// Start begins to advertise. It needs CAP_NET_RAW, and the router's address on the
// interface.
func Start(network Network, log *slog.Logger) (*Router, error) {
	r := &Router{network: network, log: log}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("advertise %s on %s: %w", network.Prefix, network.Interface, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	solicited := make(chan netip.Addr, 16)
	r.group.Go(func() { r.listen(solicited) })
	r.group.Go(func() { r.advertise(ctx, solicited) })
	return r, nil
}

// Network gives what is advertised.
func (r *Router) Network() Network { return r.network }

// Stop ends the advertisements. Hosts keep what they have learned.
func (r *Router) Stop() {
	r.cancel()
	if err := r.close(); err != nil {
		r.log.Warn("closing the router advertisements' socket", "interface", r.network.Interface, "error", err)
	}
	r.group.Wait()
}

// Withdraw tells hosts that the router is no more, and ends the advertisements.
func (r *Router) Withdraw() error {
	err := r.send(allNodes, true)
	r.Stop()
	return err
}

// open gives a raw socket of the interface that gets solicitations alone.
func (r *Router) open() error {
	conn, err := icmp.ListenPacket("ip6:ipv6-icmp", r.network.Router.WithZone(r.network.zone()).String())
	if err != nil {
		return fmt.Errorf("open an ICMPv6 socket at %s: %w", r.network.Router, err)
	}
	p := conn.IPv6PacketConn()
	link := &net.Interface{Index: r.network.Index, Name: r.network.Interface}
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	err = errors.Join(
		p.SetICMPFilter(&filter),
		p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true),
		p.JoinGroup(link, &net.IPAddr{IP: allRouters.AsSlice()}),
		p.SetMulticastInterface(link),
		p.SetMulticastLoopback(false),
	)
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("set up the ICMPv6 socket: %w", err)
	}
	r.conn, r.close = p, conn.Close
	return nil
}

// zone is the interface by its index: package net remembers names' indexes for a
// minute, and a bridge may come back under its name sooner.
func (n Network) zone() string { return strconv.Itoa(n.Index) }

// listen hands on who solicits, until the socket is closed. A solicitation with a
// hop limit other than 255 came through a router (RFC 4861, 6.1.1).
func (r *Router) listen(solicited chan<- netip.Addr) {
	buffer := make([]byte, 1500)
	for {
		n, control, from, err := r.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("reading router solicitations", "interface", r.network.Interface, "error", err)
			return
		}
		if control == nil || control.HopLimit != 255 || control.IfIndex != r.network.Index || !wellFormed(buffer[:n]) {
			continue
		}
		address, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		select {
		case solicited <- address:
		default: // enough of them wait; the next one is heard
		}
	}
}

// wellFormed tells whether a solicitation is to be answered (RFC 4861, 6.1.1).
func wellFormed(message []byte) bool {
	const header = 8
	if len(message) < header || message[1] != 0 {
		return false
	}
	for options := message[header:]; len(options) > 0; {
		if len(options) < 2 || options[1] == 0 || int(options[1])*8 > len(options) {
			return false
		}
		options = options[int(options[1])*8:]
	}
	return true
}

// advertise sends until ctx ends: multicast at growing intervals, and an answer to
// each solicitation after a random delay that keeps answers apart.
func (r *Router) advertise(ctx context.Context, solicited <-chan netip.Addr) {
	sent := 0
	unasked := time.NewTimer(0)
	defer unasked.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-unasked.C:
			if err := r.send(allNodes, false); err != nil {
				r.report(err)
				unasked.Reset(minDelay)
				continue
			}
			sent++
			unasked.Reset(interval(sent, rand.Float64()))
		case to := <-solicited:
			if !wait(ctx, time.Duration(rand.Float64()*float64(maxSolicitedDelay))) {
				return
			}
			r.report(r.send(answerTo(to), false))
		}
	}
}

// interval gives the time to the next unasked advertisement after as many were
// sent; chance is in [0,1).
func interval(sent int, chance float64) time.Duration {
	next := minInterval + time.Duration(chance*float64(maxInterval-minInterval))
	if sent < initialCount {
		next = min(next, maxInitialInterval)
	}
	return next
}

// answerTo gives where to answer: a host without an address hears multicast only.
func answerTo(host netip.Addr) netip.Addr {
	if host.IsUnspecified() {
		return allNodes
	}
	return host.WithZone("")
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// send sends one advertisement with the hop limit 255 that hosts ask for.
func (r *Router) send(to netip.Addr, final bool) error {
	message, err := r.network.Message(final)
	if err != nil {
		return err
	}
	control := &ipv6.ControlMessage{HopLimit: 255, Src: r.network.Router.AsSlice(), IfIndex: r.network.Index}
	_, err = r.conn.WriteTo(message, control, &net.IPAddr{IP: to.AsSlice(), Zone: r.network.zone()})
	if err != nil {
		return fmt.Errorf("send a router advertisement to %s on %s: %w", to, r.network.Interface, err)
	}
	return nil
}

// report logs what could not be sent; the next one may. A bridge without a port that
// is up has no multicast route, and nobody to hear: that goes without saying.
func (r *Router) report(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, unix.ENETUNREACH) {
		r.log.Warn("router advertisement not sent", "error", err)
	}
}
