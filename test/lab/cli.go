package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Failure is a zosnet command that ended with another status than 0.
type Failure struct {
	Args   []string
	Code   int    // exit status, -1 when a signal ended it
	Stdout string // what it printed before
	Stderr string // what it said about it
}

func (f *Failure) Error() string {
	return fmt.Sprintf("zosnet %s: exit status %d: %s",
		strings.Join(f.Args, " "), f.Code, strings.TrimSpace(f.Stderr))
}

// CLI runs a zosnet command against the daemon and returns its standard
// output. Any exit status but 0 is a *Failure.
func (d *Daemon) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := d.Command(ctx, d.site.zosnet, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout.String(), &Failure{Args: args, Code: exit.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	}
	return stdout.String(), err
}

// Decode runs a command that prints JSON and decodes it into v.
func (d *Daemon) Decode(ctx context.Context, v any, args ...string) error {
	out, err := d.CLI(ctx, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("zosnet %s printed no such JSON: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Status is what `zosnet status -o json` tells.
type Status struct {
	Node    string `json:"node"`
	Ready   bool   `json:"ready"`
	Uplinks []struct {
		Name string `json:"name"`
		Hook string `json:"hook"`
		Mode string `json:"mode"`
	} `json:"uplinks"`
	Networks []string `json:"networks"`
}

// Status asks the daemon how it is.
func (d *Daemon) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, d.Decode(ctx, &s, "status", "-o", "json")
}

var networkKey = regexp.MustCompile(`(?m)^network:\s*(\S+)`)

// Apply writes each NETWORK.yaml into the lab's directory, under the name of
// its network, and applies all of them in one command.
func (d *Daemon) Apply(ctx context.Context, documents ...string) error {
	return d.apply(ctx, []string{"apply"}, documents)
}

// ApplyAs is Apply as the owner whose key is in a file: in a grid, documents are
// signed.
func (d *Daemon) ApplyAs(ctx context.Context, key string, documents ...string) error {
	return d.apply(ctx, []string{"apply", "--key", key}, documents)
}

func (d *Daemon) apply(ctx context.Context, args, documents []string) error {
	for i, text := range documents {
		name := fmt.Sprintf("document-%d", i)
		if m := networkKey.FindStringSubmatch(text); m != nil {
			name = filepath.Base(m[1])
		}
		path := d.site.Path(name + ".yaml")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		args = append(args, "-f", path)
	}
	_, err := d.CLI(ctx, args...)
	return err
}

// Network is what `zosnet network show -o json` tells.
type Network struct {
	Network   string                  `json:"network"`
	Prefixes  map[string]netip.Prefix `json:"prefixes"` // by node
	Workloads []struct {
		Name      string     `json:"name"`
		Service   string     `json:"service"`
		Node      string     `json:"node"`
		Address   netip.Addr `json:"address"`
		Interface string     `json:"interface"`
	} `json:"workloads"`
}

// Network asks the daemon about one network.
func (d *Daemon) Network(ctx context.Context, name string) (Network, error) {
	var n Network
	return n, d.Decode(ctx, &n, "network", "show", name, "-o", "json")
}

// Workload is an attached workload: a machine of its own.
type Workload struct {
	*Machine
	Network   string
	Service   string
	Workload  string // its name within the network
	Address   netip.Addr
	Interface string // its host-side interface, on the node
}

// Gateway is the network's gateway, as the workload sees it: the first
// address of its /64.
func (w *Workload) Gateway() netip.Addr {
	return netip.PrefixFrom(w.Address, 64).Masked().Addr().Next()
}

// Attach attaches a workload in a pause namespace and returns it.
func (d *Daemon) Attach(ctx context.Context, network, service, name string) (*Workload, error) {
	ns := network + "." + name
	// Recorded first: an attach that fails half-way may have made it.
	err := d.site.remember(func(m *manifest) {
		if !slices.Contains(m.Workloads, ns) {
			m.Workloads = append(m.Workloads, ns)
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err := d.CLI(ctx, "attach", "--network", network, "--service", service, "--name", name); err != nil {
		return nil, err
	}
	return d.Workload(ctx, network, name)
}

// Workload finds a workload that is attached already.
func (d *Daemon) Workload(ctx context.Context, network, name string) (*Workload, error) {
	n, err := d.Network(ctx, network)
	if err != nil {
		return nil, err
	}
	for _, w := range n.Workloads {
		if w.Name != name {
			continue
		}
		ns := network + "." + name
		return &Workload{
			Machine:  NewMachine(ns, filepath.Join(namespaceDir, ns)),
			Network:  network,
			Service:  w.Service,
			Workload: name,
			Address:  w.Address, Interface: w.Interface,
		}, nil
	}
	return nil, fmt.Errorf("network %s has no workload %s: %+v", network, name, n)
}

// Detach detaches a workload.
func (d *Daemon) Detach(ctx context.Context, w *Workload) error {
	_, err := d.CLI(ctx, "detach", "--network", w.Network, "--name", w.Workload)
	return err
}

// Verdict is what `zosnet trace -o json` tells.
type Verdict struct {
	Verdict string `json:"verdict"` // "allowed" or "denied"
	Rule    string `json:"rule"`    // what decides, with its place
	Reason  string `json:"reason"`  // drop reason, empty when allowed
	Sides   []struct {
		Network string `json:"network"`
		Side    string `json:"side"` // inside, outbound or inbound
		Verdict string `json:"verdict"`
		Rule    string `json:"rule"`
	} `json:"sides"`
	Allowed bool `json:"-"` // by exit status: 0, against 4
}

// Trace asks what would become of a packet. What names the protocol, such as
// "--tcp", "80".
func (d *Daemon) Trace(ctx context.Context, from, to string, what ...string) (Verdict, error) {
	args := append([]string{"trace", "--from", from, "--to", to, "-o", "json"}, what...)
	out, err := d.CLI(ctx, args...)
	v := Verdict{Allowed: err == nil}
	const denied = 4
	var failure *Failure
	if err != nil && (!errors.As(err, &failure) || failure.Code != denied) {
		return v, err
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return v, fmt.Errorf("zosnet %s printed no such JSON: %w\n%s", strings.Join(args, " "), err, out)
	}
	return v, nil
}
