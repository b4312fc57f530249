package resolver

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/containernetworking/plugins/pkg/ns"
	"golang.org/x/sys/unix"
)

// Served is a network whose resolver is to run.
type Served struct {
	Network   string
	NetnsPath string
	Address   netip.Addr
	Zone      []byte
	Servers   []netip.Addr

	// Namespaces are those that ask it, by the name that ip-netns(8) has for them.
	Namespaces []string
}

// Processes is the daemon's hold of the resolvers: processes that go on when the
// daemon ends and are found again by the next one, by their locks. It is for one
// goroutine at a time.
type Processes struct {
	dir     string
	log     *slog.Logger
	configs configs
}

// Open takes over the resolvers of a directory, RUNDIR/dns. What starts one is this
// program, as "zosnet dns".
func Open(dir string, log *slog.Logger) *Processes {
	return &Processes{dir: dir, log: log, configs: configs{dir: namespaceConfigs, record: dir + ".namespaces"}}
}

// Settle brings the resolvers to what is wanted: their files, one running process
// for each, and none besides. What cannot be done is in the error; the rest is.
func (p *Processes) Settle(wanted []Served) error {
	keep := map[string]bool{}
	var errs []error
	for _, s := range wanted {
		keep[s.Network] = true
		if err := p.serve(s); err != nil {
			errs = append(errs, fmt.Errorf("resolver of network %s: %w", s.Network, err))
		}
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, fmt.Errorf("look for resolvers: %w", err))
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, p.end(e.Name()))
		}
	}
	errs = append(errs, p.configs.settle(wanted))
	return errors.Join(errs...)
}

// end lets a resolver end: it does when its lock goes.
func (p *Processes) end(network string) error {
	dir := filepath.Join(p.dir, network)
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("end the resolver of network %s: %w", network, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("end the resolver of network %s: %w", network, err)
	}
	p.log.Info("ended a resolver", "network", network)
	return nil
}

func (p *Processes) serve(s Served) error {
	dir := filepath.Join(p.dir, s.Network)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := errors.Join(replace(dir, zoneFile, s.Zone), replace(dir, forwardFile, Forward(s.Servers))); err != nil {
		return err
	}
	where, err := s.place()
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // what was started keeps it locked
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		have, err := os.ReadFile(lock.Name())
		if err != nil || bytes.Equal(have, where) {
			return err
		}
		if err := os.Remove(lock.Name()); err != nil { // it answers elsewhere: it ends, and another begins
			return err
		}
		return p.serve(s)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := errors.Join(lock.Truncate(0), writeAt(lock, where)); err != nil {
		return err
	}
	return p.start(s, dir, lock)
}

func writeAt(f *os.File, text []byte) error {
	_, err := f.WriteAt(text, 0)
	return err
}

// place says where a resolver answers: a namespace that was made anew is another.
func (s Served) place() ([]byte, error) {
	var stat unix.Stat_t
	if err := unix.Stat(s.NetnsPath, &stat); err != nil {
		return nil, fmt.Errorf("look up the namespace %s: %w", s.NetnsPath, err)
	}
	return fmt.Appendf(nil, "%s net:[%d]\n", s.listen(), stat.Ino), nil
}

func (s Served) listen() netip.AddrPort { return netip.AddrPortFrom(s.Address, dnsPort) }

// start starts the process in the network's namespace. It inherits nothing but the
// lock and a log of its own, and is in a session of its own. In the daemon's control
// group it stays, so that the unit must not kill by group (KillMode=process).
func (p *Processes) start(s Served, dir string, lock *os.File) error {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("/proc/self/exe", "dns", "--dir", dir, "--listen", s.listen().String())
	cmd.Args[0], cmd.Dir, cmd.Env, cmd.Stderr = "zosnet", "/", append(os.Environ(), "GOMAXPROCS=2"), log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = ns.WithNetNSPath(s.NetnsPath, func(ns.NetNS) error {
		// The daemon may have withheld the privilege to take a port below 1024. Nobody
		// else is in this namespace.
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("53"), 0); err != nil {
			return err
		}
		return cmd.Start()
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", cmd, err)
	}
	p.log.Info("started a resolver", "network", s.Network, "address", s.Address, "process", cmd.Process.Pid, "log", log.Name())
	go func() {
		if err := cmd.Wait(); err != nil {
			p.log.Error("a resolver ended; it is started again", "network", s.Network, "error", err, "log", log.Name())
		}
	}()
	return nil
}

// replace puts a file in the place of another, where it says something else.
func replace(dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	beside := filepath.Join(dir, "."+name)
	if err := os.WriteFile(beside, text, 0o644); err != nil {
		return err
	}
	return os.Rename(beside, path)
}
