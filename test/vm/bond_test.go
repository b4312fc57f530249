//go:build vm

package vm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/test/lab"
)

// layBond makes up0, a bond of port0 and port1, whose other ends the world has in
// a bridge, eth0.
func layBond(t *testing.T, node, world *lab.Machine) {
	t.Helper()
	run(t, node, "ip link add up0 type bond mode active-backup miimon 100")
	run(t, world, "ip link add eth0 type bridge mcast_snooping 0")
	layPort(t, node, world, "0")
	layPort(t, node, world, "1")
	addressBoth(t, node, "up0", world, "eth0")
}

func layPort(t *testing.T, node, world *lab.Machine, number string) {
	t.Helper()
	near, far := "port"+number, "far"+number
	cable(t, node, near, world, far)
	run(t, world, "ip link set "+far+" master eth0", "ip link set "+far+" up")
	run(t, node, "ip link set "+near+" master up0", "ip link set "+near+" up")
}

func bondHooks(t *testing.T) []string {
	return slices.Concat(hooks(t, "port0", "native"), hooks(t, "port1", "native"),
		[]string{"up0 ingress " + tcMode(t), "up0 egress " + tcMode(t)})
}

// TestBond: XDP goes on the ports, tc on the bond too; a fail-over changes
// nothing.
func TestBond(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) { layBond(t, node, world) })
	s.start()
	s.hasUplinks(bondHooks(t))
	s.behaves()
	for _, down := range []string{"port0", "port1"} {
		t.Run("without "+down, func(t *testing.T) {
			run(t, s.Machine, "ip link set "+down+" down")
			eventually(t, 2*within, func() error {
				_, err := s.Run(t.Context(), "ping", "-c1", "-W1", worldIPv4.String())
				return err
			})
			closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
			run(t, s.Machine, "ip link set "+down+" up")
		})
	}
	t.Run("a port that joins later is locked", func(t *testing.T) {
		layPort(t, s.Machine, s.world, "2")
		want := slices.Concat(bondHooks(t)[:6], hooks(t, "port2", "native"), bondHooks(t)[6:])
		eventually(t, 4*within, func() error {
			if got := s.uplinks(); !slices.Equal(got, want) {
				return fmt.Errorf("uplinks %q, want %q", got, want)
			}
			return nil
		})
		closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	})
}

// TestBondEarly: early lockdown of a bond closes its ports.
func TestBondEarly(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) { layBond(t, node, world) })
	open(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	s.early()
	closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	s.start()
	s.hasUplinks(bondHooks(t))
	s.behaves()
}

// TestOrderOfAttaching: whatever comes first, XDP ends up on the lowest, and the
// host is closed through every port.
func TestOrderOfAttaching(t *testing.T) {
	for _, c := range []struct {
		name  string
		lay   func(t *testing.T, node, world *lab.Machine)
		order []string
		xdp   []string
	}{
		{"ports, bond", layBond, []string{"port0", "port1", "up0"}, []string{"port0", "port1"}},
		{"port, bond, port", layBond, []string{"port0", "up0", "port1"}, []string{"port0", "port1"}},
		{"bond, ports", layBond, []string{"up0", "port0", "port1"}, []string{"port0", "port1"}},
		{"bond, port", layBond, []string{"up0", "port0"}, []string{"port0"}},
		{"VLAN, what it lies on", layVLAN, []string{"up0", "low0"}, []string{"low0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) { c.lay(t, node, world) })
			var xdp []string
			check(t, "attach", s.Do(func() error {
				d, err := loader.Open(loader.Options{BPFFS: s.path("bpf/zosnet")})
				if err != nil {
					return err
				}
				defer func() { _ = d.Close() }()
				for _, name := range c.order {
					if _, err := d.AttachUplink(name); err != nil {
						return err
					}
				}
				all, err := d.Attachments()
				for _, a := range all {
					if a.Hook == "xdp" {
						xdp = append(xdp, a.Interface)
					}
				}
				return err
			}))
			if !slices.Equal(xdp, c.xdp) {
				t.Errorf("XDP is on %q, want %q", xdp, c.xdp)
			}
			closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
			if slices.Contains(c.order, "port0") {
				run(t, s.Machine, "ip link set port0 down")
				closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
			}
		})
	}
}
