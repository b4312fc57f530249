// Package lab makes whole machines out of network namespaces and runs the
// real zosnet daemon in one of them:
//
//	outside ── router ── node
//
// The demo, the end-to-end tests and `zosnet lab` all stand on it. It drives
// the daemon only through its command line, the way a person would, and must
// not know anything of the daemon's insides. Nothing it does touches an
// interface, address, route or sysctl of the machine it runs on.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// Dir is where labs keep what they must remember: a directory a lab.
const Dir = "/run/zosnet-lab"

// The addresses of the standard topology. Documentation prefixes: RFC 5737
// and RFC 3849.
var (
	NodeIPv4      = netip.MustParseAddr("192.0.2.10")
	NodeIPv6      = netip.MustParseAddr("2001:db8:1::10")
	RouterIPv4    = netip.MustParseAddr("192.0.2.1") // on the node's segment
	RouterIPv6    = netip.MustParseAddr("2001:db8:1::1")
	LANIPv4       = netip.MustParseAddr("192.0.2.20")
	LANIPv6       = netip.MustParseAddr("2001:db8:1::20")
	OutsideIPv4   = netip.MustParseAddr("198.51.100.2")
	OutsideIPv6   = netip.MustParseAddr("2001:db8:2::2")
	FriendIPv4    = netip.MustParseAddr("198.51.100.3")
	FriendIPv6    = netip.MustParseAddr("2001:db8:2::3")
	farRouterIPv4 = netip.MustParseAddr("198.51.100.1") // on the outside segment
	farRouterIPv6 = netip.MustParseAddr("2001:db8:2::1")

	// Allocation is the prefix that the node holds; the router sends it to
	// NodeIPv6.
	Allocation = netip.MustParsePrefix("2001:db8:aaaa::/48")
)

// Config says which lab to make.
type Config struct {
	Name   string // [a-z][a-z0-9-]{0,19}, unique on the machine
	Zosnet string // path of the zosnet binary; needed by StartDaemon only
	Friend bool   // a second host on the outside segment
	LAN    bool   // a host on the node's own segment, which is then a bridge
	Keep   bool   // outlives this process; Remove ends it

	// NodeDocument is appended to the node.yaml that StartDaemon writes:
	// top-level keys that it does not write itself, such as lockdown.
	NodeDocument string
}

// Lab is a set of machines wired together. Its methods are safe for
// concurrent use, except Close.
type Lab struct {
	Outside *Machine
	Friend  *Machine // nil unless asked for
	LAN     *Machine // nil unless asked for
	Router  *Machine
	Node    *Machine

	config   Config
	dir      string
	record   sync.Mutex // of manifest
	manifest *manifest
	name     *lock // this lab's name, unless kept
	attach   *lock // the machine's /run/netns/N.W names, once a daemon runs
	daemon   *Daemon
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

// New makes the lab and waits until its machines reach their routers. It
// waits for another process that has a lab of the same name, within ctx, and
// removes one that a killed process left behind. On error nothing is left.
func New(ctx context.Context, config Config) (*Lab, error) {
	if !nameForm.MatchString(config.Name) {
		return nil, fmt.Errorf("lab name %q: want %s", config.Name, nameForm)
	}
	held, err := takeLock(ctx, config.Name)
	if err != nil {
		return nil, fmt.Errorf("lab %s: wait for its name: %w", config.Name, err)
	}
	lab := &Lab{config: config, dir: filepath.Join(Dir, config.Name), name: held}
	if err := lab.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lab %s: %w", config.Name, err), lab.Close())
	}
	return lab, nil
}

func (l *Lab) setUp(ctx context.Context) error {
	if old, err := readManifest(l.dir); err == nil {
		if old.Keep {
			// Not ours to take away: Close must leave it alone too.
			l.dir = ""
			return fmt.Errorf("is up already; `zosnet lab down %s` removes it", l.config.Name)
		}
		if err := old.remove(l.dir); err != nil {
			return fmt.Errorf("remove what a killed process left: %w", err)
		}
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	l.manifest = &manifest{Name: l.config.Name, Keep: l.config.Keep, Made: time.Now().UTC()}
	// Written before the first namespace, so that a kill at any later moment
	// leaves a list of what may be there.
	err := l.remember(func(m *manifest) {
		for _, role := range l.roles() {
			m.Namespaces = append(m.Namespaces, namespaceName(l.config.Name, role))
		}
	})
	if err != nil {
		return err
	}
	return l.wire(ctx)
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.config.Name }

// Path is a file of this lab, by its name within the lab's directory.
func (l *Lab) Path(name string) string { return filepath.Join(l.dir, name) }

// Close ends every process of the lab and removes everything it made. It may
// be called more than once.
func (l *Lab) Close() error {
	defer l.attach.release()
	defer l.name.release()
	if l.dir == "" {
		return nil
	}
	m, err := readManifest(l.dir)
	if errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(l.dir) // set-up came no further
		return nil
	}
	if err != nil {
		return err
	}
	return m.remove(l.dir)
}

// remember changes the manifest, in memory and on disk.
func (l *Lab) remember(change func(*manifest)) error {
	l.record.Lock()
	defer l.record.Unlock()
	change(l.manifest)
	return l.manifest.write(l.dir)
}

// Release lets the lab outlive this process: nothing is removed, the locks
// are given back. Only a lab made with Keep may be released.
func (l *Lab) Release() error {
	if !l.config.Keep {
		return fmt.Errorf("lab %s was not made to be kept", l.config.Name)
	}
	l.attach.release()
	l.name.release()
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
