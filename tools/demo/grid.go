package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// gridDemo is the part with three nodes, while it runs.
type gridDemo struct {
	*board
	grid    *lab.Grid
	owner   string // file of the network owner's key
	members []*member
}

// member is a node with its workload of the network.
type member struct {
	*lab.Node
	monitor  *lab.Monitor
	service  string
	port     uint16
	workload *lab.Workload
}

func (m *member) at() netip.AddrPort { return netip.AddrPortFrom(m.workload.Address, m.port) }

// showGrid shows three nodes that become one grid.
func showGrid(ctx context.Context, b *board, g *lab.Grid) error {
	d := &gridDemo{board: b, grid: g, owner: g.Path("owner.key")}
	for i, service := range []string{"web", "api", "db"} {
		port := map[string]uint16{"web": webPort, "api": webPort, "db": dbPort}[service]
		d.members = append(d.members, &member{Node: g.Nodes[i], service: service, port: port})
	}
	progress("Starting three nodes, one of them at home behind NAT", 0)
	if err := g.Start(ctx); err != nil {
		return err
	}
	defer d.unwatch()
	for _, part := range []func(context.Context) error{
		d.becomeGrid, d.carryNetwork, d.allPairs, d.betweenNodes, d.join, d.nothingToSee,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// becomeGrid types what a person would.
func (d *gridDemo) becomeGrid(ctx context.Context) error {
	first, second, home := d.members[0], d.members[1], d.members[2]
	var used string
	join := func(n *member) func(context.Context) (string, string, error) {
		return func(ctx context.Context) (string, string, error) {
			token, err := first.CLI(ctx, "grid", "token")
			if err != nil {
				return "", "", err
			}
			used = strings.TrimSpace(token)
			return timed("joined", func() error {
				_, err := n.CLI(ctx, "grid", "join", used)
				return err
			})
		}
	}
	return d.runAll(ctx, "Three machines become a grid", 1, []check{
		{what: "n1$ zosnet grid init", want: "made", run: func(ctx context.Context) (string, string, error) {
			return timed("made", func() error {
				_, err := first.CLI(ctx, "grid", "init")
				return err
			})
		}},
		{what: "n2$ zosnet grid join TOKEN", want: "joined", run: join(second)},
		{what: "n3$ zosnet grid join TOKEN, from behind NAT", want: "joined", run: join(home)},
		{what: "you$ zosnet apply --key owner.key -f shop.yaml, at n2", want: "on n1, n2, n3", run: d.apply},
	})
}

func timed(done string, do func() error) (string, string, error) {
	began := time.Now()
	if err := do(); err != nil {
		return "", "", err
	}
	return done, fmt.Sprintf("in %v", time.Since(began).Round(10*time.Millisecond)), nil
}

// apply registers the network at one node, and tells when the last one carries it.
func (d *gridDemo) apply(ctx context.Context) (string, string, error) {
	at := d.members[1]
	if _, err := at.CLI(ctx, "key", "new", "--file", d.owner); err != nil {
		return "", "", err
	}
	return timed("on n1, n2, n3", func() error {
		if err := at.ApplyAs(ctx, d.owner, shopDocument); err != nil {
			return err
		}
		for _, n := range d.members {
			if err := n.carries(ctx, shop, d.slow(settled)); err != nil {
				return err
			}
		}
		return nil
	})
}

// settled bounds how long a change may take to be everywhere.
const settled = 20 * time.Second

// carries waits until a node carries a network.
func (m *member) carries(ctx context.Context, network string, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		status, err := m.Status(ctx)
		if err == nil && slices.Contains(status.Networks, network) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s does not carry %s: %w", m.Name, network, err)
		}
	}
}

// carryNetwork attaches a workload on each node, and waits until each node knows of
// all.
func (d *gridDemo) carryNetwork(ctx context.Context) error {
	var err error
	for _, n := range d.members {
		if n.workload, err = n.Attach(ctx, shop, n.service, n.service+"-1"); err != nil {
			return err
		}
		if err := d.startServer(ctx, n.workload.Machine, n.at()); err != nil {
			return err
		}
	}
	for _, n := range d.members {
		if err := n.knows(ctx, d.members, d.slow(settled)); err != nil {
			return err
		}
	}
	for _, n := range d.members {
		from, at := d.grid.Outside, n.Address
		if n.NAT != nil {
			from = n.NAT // nobody else reaches it
		}
		if n.monitor, err = d.watch(ctx, n.Daemon, from, at); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

// knows waits until the node knows the workloads of all.
func (m *member) knows(ctx context.Context, all []*member, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		shown, err := m.Network(ctx, shop)
		if err == nil && len(shown.Workloads) == len(all) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s knows of %d workloads of %s, want %d: %w", m.Name, len(shown.Workloads), shop, len(all), err)
		}
	}
}

func (d *gridDemo) unwatch() {
	for _, n := range d.members {
		if n.monitor != nil {
			n.monitor.Close()
		}
	}
}
