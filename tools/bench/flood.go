package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// flood is a stranger's packets to a host that drops them.
type flood struct {
	source *source
	host   *lab.Machine
	link   string // of the host
}

// newFlood is from the interface of one machine to that of another, which is the
// far end of its cable.
func newFlood(stranger *lab.Machine, near string, host *lab.Machine, far string, src, dst netip.Addr) (*flood, error) {
	to, err := interfaceOf(host, far)
	if err != nil {
		return nil, err
	}
	s, err := newSource(stranger, near, to.HardwareAddr, src, dst)
	return &flood{s, host, far}, err
}

// received is how many frames the host's interface has taken.
func (f *flood) received() (uint64, error) {
	h, err := f.host.Netlink()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	l, err := h.LinkByName(f.link)
	if err != nil {
		return 0, fmt.Errorf("%s: find %s: %w", f.host.Name, f.link, err)
	}
	return l.Attrs().Statistics.RxPackets, nil
}

// drops gives how many packets are dropped, in millions a second.
func (f *flood) drops(span time.Duration) (float64, error) {
	return f.source.rate(span, f.received)
}

// guarded is a host whose interface drops everything in nftables' netdev hook.
func (b *bench) guarded(ctx context.Context) (*flood, error) {
	s, err := b.makeSite("netdev", "outside", "host")
	if err != nil {
		return nil, err
	}
	err = s.ip(ctx, `
		outside link add eth0 type veth peer name eth0 netns @host
		outside address add 2001:db8:d::1/64 dev eth0 nodad
		host address add 2001:db8:d::2/64 dev eth0 nodad
		outside link set eth0 up
		host link set eth0 up
	`)
	if err != nil {
		return nil, err
	}
	// A veth takes XDP frames where it has NAPI, which GRO switches on; a card has both.
	if _, err := s.machine("host").Run(ctx, "ethtool", "-K", "eth0", "gro", "on"); err != nil {
		return nil, err
	}
	err = s.nft(ctx, "host", `
		table netdev guard {
			chain ingress {
				type filter hook ingress device "eth0" priority 0; policy drop
			}
		}`)
	if err != nil {
		return nil, err
	}
	f, err := newFlood(s.machine("outside"), "eth0", s.machine("host"), "eth0",
		guardedStranger, guardedHost)
	if err != nil {
		return nil, err
	}
	b.after(f.source.close)
	return f, nil
}

// locked is the lab's node, under lockdown. The drops that its daemon counts must
// be the frames that arrive.
func (b *bench) locked(ctx context.Context, l *lab.Lab, d *lab.Daemon) (*flood, error) {
	f, err := newFlood(l.Router, "near", l.Node, "eth0",
		lab.OutsideIPv6, lab.NodeIPv6)
	if err != nil {
		return nil, err
	}
	b.after(f.source.close)
	dropped := func() (float64, error) { return d.Drops(ctx, "", "lockdown") }
	was, err := dropped()
	if err != nil {
		return nil, err
	}
	before, err := f.received()
	if err != nil {
		return nil, err
	}
	if _, err := f.source.send(10); err != nil {
		return nil, err
	}
	after, err := f.received()
	if err != nil {
		return nil, err
	}
	is, err := dropped()
	if err == nil && is-was < float64(after-before) {
		err = fmt.Errorf("of %d packets that arrived the lockdown dropped %.0f: what is measured is not what it says", after-before, is-was)
	}
	return f, err
}
