//go:build vm

package vm

import (
	"testing"

	"github.com/zosnet/zosnet/test/lab"
)

// takeCard moves one of the guest's cards to a machine. It comes back by itself
// when the machine goes, and is waited for.
func takeCard(t *testing.T, name string, to *lab.Machine) {
	t.Helper()
	eventually(t, within, func() error {
		_, err := self().Run(t.Context(), "ip", "link", "set", name, "netns", to.Name)
		return err
	})
}

// TestVirtio: the driver of virtio_net runs XDP itself.
func TestVirtio(t *testing.T) {
	s := newScene(t, "", func(node, world *lab.Machine) { // every physical link
		takeCard(t, "eth0", node)
		takeCard(t, "eth1", world)
		addressBoth(t, node, "eth0", world, "eth1")
	})
	open(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	s.start()
	s.hasUplinks(hooks(t, "eth0", "native"))
	s.behaves()
}
