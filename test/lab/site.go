package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// site is what every lab has, however its machines are wired: a name that nobody
// else has meanwhile, a directory, and a list on disk of what there is to remove.
type site struct {
	name     string
	keep     bool
	zosnet   string // the binary
	dir      string
	record   sync.Mutex // of manifest
	manifest *manifest
	held     *lock // the name, unless kept
	attach   *lock // the machine's /run/netns/N.W names, once a daemon runs
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

// open takes the name and lets wire make the machines of these roles. On error
// nothing is left.
func (s *site) open(ctx context.Context, roles []string, wire func(context.Context) error) error {
	if !nameForm.MatchString(s.name) {
		return fmt.Errorf("lab name %q: want %s", s.name, nameForm)
	}
	held, err := takeLock(ctx, s.name)
	if err != nil {
		return fmt.Errorf("lab %s: wait for its name: %w", s.name, err)
	}
	s.held, s.dir = held, filepath.Join(Dir, s.name)
	err = s.clear(roles)
	if err == nil {
		err = wire(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("lab %s: %w", s.name, err), s.Close())
	}
	return nil
}

// clear removes what a killed process left under this name, and begins the list.
func (s *site) clear(roles []string) error {
	if old, err := readManifest(s.dir); err == nil {
		if old.Keep {
			// Not ours to take away: Close must leave it alone too.
			s.dir = ""
			return fmt.Errorf("is up already; `zosnet lab down %s` removes it", s.name)
		}
		if err := old.remove(s.dir); err != nil {
			return fmt.Errorf("remove what a killed process left: %w", err)
		}
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	s.manifest = &manifest{Name: s.name, Keep: s.keep, Made: time.Now().UTC()}
	// Written before the first namespace, so that a kill at any later moment
	// leaves a list of what may be there.
	return s.remember(func(m *manifest) {
		for _, role := range roles {
			m.Namespaces = append(m.Namespaces, namespaceName(s.name, role))
		}
	})
}

// boot makes one machine with nothing but lo.
func (s *site) boot(role string) (*Machine, error) {
	name := namespaceName(s.name, role)
	if err := makeNamespace(name); err != nil {
		return nil, err
	}
	m := &Machine{Name: role, path: filepath.Join(namespaceDir, name)}
	return m, m.prepare()
}

// AddMachine makes one more machine, with nothing but lo: a VM, say, whose
// card the caller will make.
func (s *site) AddMachine(role string) (*Machine, error) {
	err := s.remember(func(m *manifest) {
		m.Namespaces = append(m.Namespaces, namespaceName(s.name, role))
	})
	if err != nil {
		return nil, err
	}
	return s.boot(role)
}

// Name is the lab's name.
func (s *site) Name() string { return s.name }

// Path is a file of this lab, by its name within the lab's directory.
func (s *site) Path(name string) string { return filepath.Join(s.dir, name) }

// takeTurn waits until no other lab has daemons: workload namespaces have names that
// the whole machine shares.
func (s *site) takeTurn(ctx context.Context) error {
	if s.attach != nil {
		return nil
	}
	held, err := takeLock(ctx, attachLock)
	if err != nil {
		return fmt.Errorf("lab %s: wait for other labs with a daemon: %w", s.name, err)
	}
	s.attach = held
	if err := sweep(); err != nil {
		return fmt.Errorf("remove what killed processes left: %w", err)
	}
	return nil
}

// Close ends every process of the lab and removes everything it made. It may
// be called more than once.
func (s *site) Close() error {
	defer s.attach.release()
	defer s.held.release()
	if s.dir == "" {
		return nil
	}
	m, err := readManifest(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(s.dir) // set-up came no further
		return nil
	}
	if err != nil {
		return err
	}
	return m.remove(s.dir)
}

// remember changes the manifest, in memory and on disk.
func (s *site) remember(change func(*manifest)) error {
	s.record.Lock()
	defer s.record.Unlock()
	change(s.manifest)
	return s.manifest.write(s.dir)
}

// Release lets the lab outlive this process: nothing is removed, the locks
// are given back. Only a lab made with Keep may be released.
func (s *site) Release() error {
	if !s.keep {
		return fmt.Errorf("lab %s was not made to be kept", s.name)
	}
	s.attach.release()
	s.held.release()
	return nil
}

// Remove removes the lab of that name, whoever made it.
func Remove(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("lab name %q: want %s", name, nameForm)
	}
	dir := filepath.Join(Dir, name)
	m, err := readManifest(dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("lab %s: there is none (zosnet lab ls shows those there are)", name)
	}
	if err != nil {
		return err
	}
	return m.remove(dir)
}
