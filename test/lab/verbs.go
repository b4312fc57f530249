package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Up makes a lab with every machine there is and a running daemon, which
// outlives this process. Zosnet is the path of the binary to run.
func Up(ctx context.Context, name, zosnet string) error {
	l, err := New(ctx, Config{Name: name, Zosnet: zosnet, Friend: true, LAN: true, Keep: true})
	if err != nil {
		return err
	}
	if _, err := l.StartDaemon(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	return l.Release()
}

// ThreeNodes are the nodes of a grid to look at: two on the Internet, and one at home.
var ThreeNodes = []NodeConfig{
	{Name: "n1", Prefix: netip.MustParsePrefix("2001:db8:aaaa::/48")},
	{Name: "n2", Prefix: netip.MustParsePrefix("2001:db8:bbbb::/48")},
	{Name: "n3", NAT: true}, // given a block of another node's prefix
}

// UpGrid makes a lab of three nodes and a laptop, with running daemons that know
// nothing of each other yet. It outlives this process.
func UpGrid(ctx context.Context, name, zosnet string) error {
	g, err := NewGrid(ctx, GridConfig{Name: name, Zosnet: zosnet, Nodes: ThreeNodes, Laptop: true, Keep: true})
	if err != nil {
		return err
	}
	if err := g.Start(ctx); err != nil {
		return errors.Join(err, g.Close())
	}
	return g.Release()
}

// Down removes a lab and everything attached to it.
func Down(name string) error { return Remove(name) }

// Summary is one lab, as List tells of it.
type Summary struct {
	Name      string        `json:"name"`
	Made      time.Time     `json:"made"`
	Keep      bool          `json:"keep"` // false: of a test or demo that runs, or was killed
	Nodes     []NodeSummary `json:"nodes"`
	Machines  []string      `json:"machines"` // nodes among them
	Workloads []string      `json:"workloads"`
}

// NodeSummary is one node of a lab, as List tells of it.
type NodeSummary struct {
	Machine string `json:"machine"`
	Daemon  int    `json:"daemon"` // process id, 0 when none runs
	Socket  string `json:"socket"` // of its daemon
}

// List tells of every lab on this machine.
func List() ([]Summary, error) {
	dirs, err := filepath.Glob(filepath.Join(Dir, "*", manifestFile))
	if err != nil {
		return nil, err
	}
	list := []Summary{}
	for _, file := range dirs {
		m, err := readManifest(filepath.Dir(file))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		s, err := m.summary()
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (m *manifest) summary() (Summary, error) {
	s := Summary{Name: m.Name, Made: m.Made, Keep: m.Keep}
	for _, placed := range m.Nodes {
		n := NodeSummary{Machine: placed.Machine, Socket: filepath.Join(placed.Dir, "run/zosnet.sock")}
		if start, err := startTime(placed.Daemon.PID); err == nil && start == placed.Daemon.Start {
			n.Daemon = placed.Daemon.PID
		}
		s.Nodes = append(s.Nodes, n)
	}
	for _, ns := range m.Namespaces {
		s.Machines = append(s.Machines, strings.TrimPrefix(ns, namespaceName(m.Name, "")))
	}
	workloads, err := m.attached()
	s.Workloads = workloads
	return s, err
}

// Find is a machine or workload (NETWORK.WORKLOAD) of a lab that is up. The zosnet
// commands that run there talk to its own daemon, or else to the first node's.
func Find(name, machine string) (*Machine, error) {
	m, err := readManifest(filepath.Join(Dir, name))
	if err != nil {
		return nil, fmt.Errorf("lab %s: there is none (zosnet lab ls shows those there are)", name)
	}
	s, err := m.summary()
	if err != nil {
		return nil, err
	}
	found := &Machine{Name: machine, env: m.socketFor(machine)}
	switch {
	case slices.Contains(s.Machines, machine):
		found.path = filepath.Join(namespaceDir, namespaceName(name, machine))
	case slices.Contains(s.Workloads, machine):
		found.path = filepath.Join(namespaceDir, machine)
	default:
		return nil, fmt.Errorf("lab %s: no machine %q: want one of %s",
			name, machine, strings.Join(append(s.Machines, s.Workloads...), ", "))
	}
	if machine == laptop {
		found.etc = filepath.Join(configDir, filepath.Base(found.path))
		found.env = append(found.env, laptopEnv(filepath.Join(Dir, name))...)
	}
	return found, nil
}

// socketFor is the environment for zosnet commands on a machine.
func (m *manifest) socketFor(machine string) []string {
	if len(m.Nodes) == 0 {
		return nil
	}
	i := max(slices.IndexFunc(m.Nodes, func(n placed) bool { return n.Machine == machine }), 0)
	return socketOf(m.Nodes[i].Dir)
}
