package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/zosnet/zosnet/test/lab"
)

// demo is a demo while it runs.
type demo struct {
	lab      *lab.Lab
	daemon   *lab.Daemon
	monitor  *lab.Monitor
	sections []section

	web, db, api, store *lab.Workload
}

// show sets everything up and runs every section.
func show(ctx context.Context, l *lab.Lab) ([]section, error) {
	d := &demo{lab: l}
	if err := d.setUp(ctx); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) error{
		d.whoReachesWhom, d.hostItself, d.hostileTenant, d.scans, d.changeOfRules, d.crash,
	} {
		if err := part(ctx); err != nil {
			d.monitor.Close()
			return nil, err
		}
	}
	d.monitor.Close()
	return d.sections, nil
}

func (d *demo) setUp(ctx context.Context) error {
	d.progress("Starting a node, two networks and four workloads", 0)
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
		if err := startServer(ctx, (*w.at).Machine, netip.AddrPortFrom((*w.at).Address, w.port)); err != nil {
			return err
		}
	}
	for _, a := range []netip.Addr{lab.OutsideIPv4, lab.OutsideIPv6} {
		if err := startServer(ctx, d.lab.Outside, netip.AddrPortFrom(a, webPort)); err != nil {
			return err
		}
	}
	return d.watch(ctx)
}

// watch starts the monitor and waits until it shows a drop: only then can a
// drop that it does not show be told from one that came too early.
func (d *demo) watch(ctx context.Context) error {
	var err error
	if d.monitor, err = d.daemon.Monitor(ctx); err != nil {
		return err
	}
	const discard = 9
	any := func(drop lab.Drop) bool { return drop.Dport == discard }
	conn, err := d.lab.Outside.Dial(ctx, "udp", netip.AddrPortFrom(lab.NodeIPv4, discard).String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for range 50 {
		_, _ = conn.Write([]byte("?"))
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err = d.monitor.Wait(short, any)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return errors.Join(errors.New("the monitor shows no drop of a datagram to the host"), err)
}

// progress tells a person who waits what is going on.
func (d *demo) progress(what string, lines int) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	if lines > 0 {
		what += ": " + plural(lines, "line", "lines")
	}
	_, _ = fmt.Fprintf(os.Stderr, "… %s\n", what)
}
