package lab

import (
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

// laptopEnv is the environment of the laptop's programs, by the lab's directory: its
// own come first.
func laptopEnv(dir string) []string {
	return []string{"PATH=" + laptopBin(dir) + ":" + os.Getenv("PATH")}
}

func laptopBin(dir string) string { return filepath.Join(dir, laptop, "bin") }

// equip gives the laptop what wg-quick(8) looks for: an /etc/resolv.conf of its own,
// as ip-netns(8) provides for the programs that it starts, the program that fills
// it, and wireguard-go, which it takes where the kernel has no WireGuard.
func (g *Grid) equip() error {
	m, bin := g.Laptop, laptopBin(g.dir)
	// ip-netns(8) lays the laptop's over it; without it the laptop would write the
	// machine's.
	if _, err := os.Stat("/etc/resolv.conf"); err != nil {
		return fmt.Errorf("the laptop's resolv.conf has nothing to lie over: %w", err)
	}
	m.etc, m.env = filepath.Join(configDir, filepath.Base(m.path)), laptopEnv(g.dir)
	for _, dir := range []string{m.etc, bin} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(m.etc, "resolv.conf"), nil, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "resolvconf"), []byte(resolvconf), 0o755); err != nil {
		return err
	}
	if g.config.WireGuard == "" {
		return nil
	}
	return os.Symlink(g.config.WireGuard, filepath.Join(bin, "wireguard-go"))
}
