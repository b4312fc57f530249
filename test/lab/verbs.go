package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// Down removes a lab and everything attached to it.
func Down(name string) error { return Remove(name) }

// Summary is one lab, as List tells of it.
type Summary struct {
	Name      string    `json:"name"`
	Made      time.Time `json:"made"`
	Keep      bool      `json:"keep"`   // false: of a test or demo that runs, or was killed
	Daemon    int       `json:"daemon"` // process id, 0 when none runs
	Machines  []string  `json:"machines"`
	Workloads []string  `json:"workloads"`
	Socket    string    `json:"socket"` // of its daemon
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
	s := Summary{Name: m.Name, Made: m.Made, Keep: m.Keep,
		Socket: filepath.Join(Dir, m.Name, "run/zosnet.sock")}
	for _, p := range m.Processes {
		if start, err := startTime(p.PID); err == nil && start == p.Start {
			s.Daemon = p.PID
		}
	}
	for _, ns := range m.Namespaces {
		s.Machines = append(s.Machines, strings.TrimPrefix(ns, namespaceName(m.Name, "")))
	}
	workloads, err := m.attached()
	s.Workloads = workloads
	return s, err
}

// Find is a machine or workload (NETWORK.WORKLOAD) of a lab that is up, with
// the lab's daemon as the one that zosnet commands there talk to.
func Find(name, machine string) (*Machine, error) {
	dir := filepath.Join(Dir, name)
	m, err := readManifest(dir)
	if err != nil {
		return nil, fmt.Errorf("lab %s: there is none (zosnet lab ls shows those there are)", name)
	}
	s, err := m.summary()
	if err != nil {
		return nil, err
	}
	env := []string{"ZOSNET_SOCKET=" + s.Socket}
	for i, role := range s.Machines {
		if role == machine {
			return &Machine{Name: role, path: filepath.Join(namespaceDir, m.Namespaces[i]), env: env}, nil
		}
	}
	for _, ns := range s.Workloads {
		if ns == machine {
			return &Machine{Name: ns, path: filepath.Join(namespaceDir, ns), env: env}, nil
		}
	}
	return nil, fmt.Errorf("lab %s: no machine %q: want one of %s",
		name, machine, strings.Join(append(s.Machines, s.Workloads...), ", "))
}
