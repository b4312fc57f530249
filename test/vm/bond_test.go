//go:build vm

package vm

import (
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
	for _, n := range []string{"0", "1"} {
		cable(t, node, "port"+n, world, "far"+n)
		run(t, world, "ip link set far"+n+" master eth0", "ip link set far"+n+" up")
		run(t, node, "ip link set port"+n+" down", "ip link set port"+n+" master up0", "ip link set port"+n+" up")
	}
	addressBoth(t, node, "up0", world, "eth0")
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

// TestBondGrows: whatever comes first, the bond, a port, or a port of it only
// later, each attaches, and the host stays closed through every port.
func TestBondGrows(t *testing.T) {
	for _, order := range [][]string{
		{"port0", "port1", "up0"},
		{"port0", "up0", "port1"},
		{"up0", "port0", "port1"},
	} {
		t.Run(order[0]+" "+order[1]+" "+order[2], func(t *testing.T) {
			s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) { layBond(t, node, world) })
			err := s.Do(func() error {
				d, err := loader.Open(loader.Options{BPFFS: s.path("bpf/zosnet")})
				if err != nil {
					return err
				}
				defer func() { _ = d.Close() }()
				for _, name := range order {
					if _, err := d.AttachUplink(name); err != nil {
						t.Errorf("attach to %s: %v", name, err)
					}
				}
				all, err := d.Attachments()
				t.Logf("attached: %+v", all)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, port := range []string{"port1", "port0"} {
				run(t, s.Machine, "ip link set "+port+" down")
				closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
				run(t, s.Machine, "ip link set "+port+" up")
			}
		})
	}
}
