package main

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// demo is a demo while it runs.
type demo struct {
	*board
	lab     *lab.Lab
	daemon  *lab.Daemon
	monitor *lab.Monitor

	web, db, api, store *lab.Workload
}

// showNode shows one node.
func showNode(ctx context.Context, b *board, l *lab.Lab) error {
	d := &demo{board: b, lab: l}
	if err := d.setUp(ctx); err != nil {
		return err
	}
	defer func() { d.monitor.Close() }()
	for _, part := range []func(context.Context) error{
		d.whoReachesWhom, d.hostItself, d.hostileTenant, d.scans, d.changeOfRules, d.crash,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// runAll is the board's, with the drops that this node's monitor shows.
func (d *demo) runAll(ctx context.Context, title string, parallel int, checks []check) error {
	for i := range checks {
		checks[i].monitor = d.monitor
	}
	return d.board.runAll(ctx, title, parallel, checks)
}

func (d *demo) setUp(ctx context.Context) error {
	progress("Starting a node, two networks and four workloads", 0)
	var err error
	if d.daemon, err = d.lab.StartDaemon(ctx); err != nil {
		return err
	}
	if err := d.daemon.Apply(ctx, acmeDocument, globexDocument); err != nil {
		return err
	}
	for _, w := range []struct {
		at            **lab.Workload
		network, role string
		port          uint16
	}{
		{&d.web, acme, "web", webPort}, {&d.db, acme, "db", dbPort},
		{&d.api, globex, "api", webPort}, {&d.store, globex, "store", storePort},
	} {
		if *w.at, err = d.daemon.Attach(ctx, w.network, w.role, w.role+"-1"); err != nil {
			return err
		}
		if err := d.startServer(ctx, (*w.at).Machine, netip.AddrPortFrom((*w.at).Address, w.port)); err != nil {
			return err
		}
	}
	for _, a := range []netip.Addr{lab.OutsideIPv4, lab.OutsideIPv6} {
		if err := d.startServer(ctx, d.lab.Outside, netip.AddrPortFrom(a, webPort)); err != nil {
			return err
		}
	}
	d.monitor, err = d.watch(ctx, d.daemon, d.lab.Outside, lab.NodeIPv4)
	return err
}

// watch starts a node's monitor and waits until it shows a drop: only then can a
// drop that it does not show be told from one that came too early.
func (b *board) watch(ctx context.Context, daemon *lab.Daemon, from *lab.Machine, at netip.Addr) (*lab.Monitor, error) {
	monitor, err := daemon.Monitor(ctx)
	if err != nil {
		return nil, err
	}
	const discard = 9
	any := func(drop lab.Drop) bool { return drop.Dport == discard }
	conn, err := from.Dial(ctx, "udp", netip.AddrPortFrom(at, discard).String())
	if err != nil {
		monitor.Close()
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, b.slow(10*time.Second))
	defer cancel()
	for ctx.Err() == nil {
		_, _ = conn.Write([]byte("?"))
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err = monitor.Wait(short, any)
		cancel()
		if err == nil {
			return monitor, nil
		}
	}
	monitor.Close()
	return nil, errors.Join(errors.New("the monitor shows no drop of a datagram to the host"), err)
}
