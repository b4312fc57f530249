package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// resolvconf is the laptop's: it takes what resolvconf(8) is given for one interface
// into the only resolv.conf that there is.
const resolvconf = `#!/bin/sh
case $1 in
-a) exec cat >/etc/resolv.conf ;;
-d) : >/etc/resolv.conf ;;
*) exit 1 ;;
esac
`

// ownResolver gives a machine an /etc/resolv.conf of its own, as ip-netns(8) does for
// the programs that it starts: names are then looked up where the machine says.
func (m *Machine) ownResolver() error {
	m.etc = filepath.Join(configDir, filepath.Base(m.path))
	if err := os.MkdirAll(m.etc, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.etc, "resolv.conf"), nil, 0o644)
}

// Tunnel brings up a WireGuard configuration on the laptop with wg-quick(8), and
// takes it down. Without WireGuard in the kernel wg-quick takes the program that
// Userspace names.
type Tunnel struct {
	Userspace string // path of wireguard-go; empty: the kernel must have it
	laptop    *Machine
	file      string
	path      string // where programs are looked for
}

// Tunnel is the tunnel that a configuration describes. Its interface is called name,
// at most 15 bytes that no other WireGuard device of the machine is called: those
// without the kernel's share their sockets.
func (g *Grid) Tunnel(name, config string) (*Tunnel, error) {
	bin := g.Path("laptop/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(bin, "resolvconf"), []byte(resolvconf), 0o755); err != nil {
		return nil, err
	}
	t := &Tunnel{laptop: g.Laptop, file: g.Path("laptop/" + name + ".conf"), path: bin + ":" + os.Getenv("PATH")}
	return t, os.WriteFile(t.file, []byte(config), 0o600)
}

// Up is `wg-quick up`.
func (t *Tunnel) Up(ctx context.Context) error { return t.quick(ctx, "up") }

// Down is `wg-quick down`.
func (t *Tunnel) Down(ctx context.Context) error { return t.quick(ctx, "down") }

func (t *Tunnel) quick(ctx context.Context, verb string) error {
	cmd := t.laptop.Command(ctx, "wg-quick", verb, t.file)
	cmd.Env = append(cmd.Env, "PATH="+t.path, "WG_QUICK_USERSPACE_IMPLEMENTATION="+t.Userspace)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("wg-quick %s %s: %w\n%s", verb, filepath.Base(t.file), err, out)
	}
	return nil
}
