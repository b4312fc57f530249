package grid_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// testStale: when the lease of a node has ended, and for so long that no session with it
// can be left, its peer has no endpoint: somebody else may be there now. The time passes
// for the node that looks: its clock was a day behind, and is put right.
func testStale(t *testing.T, at *node, network string, left *node) {
	if peer := at.onlyPeer(t, network); peer.endpoint == "(none)" {
		t.Errorf("%s has no endpoint of %s as soon as that is not live", at.name, left.name)
	}
	at.stop(unix.SIGKILL)
	at.Program = ""
	at.start()
	await(t, patience, func() error {
		if peer := at.onlyPeer(t, network); peer.endpoint != "(none)" || peer.prefixes == "(none)" {
			return fmt.Errorf("%s has of %s, which is gone, %+v: want no endpoint, and its prefix", at.name, left.name, peer)
		}
		return nil
	})
}

// wgPeer is what `wg show` says of a peer.
type wgPeer struct{ endpoint, prefixes, handshake, keepalive string }

// onlyPeer gives the one peer that a network has at this node.
func (n *node) onlyPeer(t *testing.T, network string) (p wgPeer) {
	t.Helper()
	device := n.networkKey(network, "keys", "ls").Interface
	for what, to := range map[string]*string{
		"endpoints": &p.endpoint, "allowed-ips": &p.prefixes, "latest-handshakes": &p.handshake, "persistent-keepalive": &p.keepalive,
	} {
		out, err := n.Run(t.Context(), "wg", "show", device, what)
		check(t, err)
		_, value, one := strings.Cut(strings.TrimSpace(out), "\t")
		if !one || strings.Contains(value, "\n") {
			t.Fatalf("%s of the peers of %s at %s: %q", what, network, n.name, out)
		}
		*to = value
	}
	return p
}

// owned is a block as its holder shows it.
type owned struct {
	Block      netip.Prefix
	Node       string
	RestsUntil string
}

// has waits until the block that an address is in is a node's, at its holder. One that has
// rested is nobody's.
func (n *node) has(t *testing.T, a netip.Addr, owner *node, resting bool) {
	t.Helper()
	await(t, patience, func() error {
		var shown struct{ Blocks []owned }
		if err := n.tells(&shown, "prefix", "show", a.String()); err != nil {
			return err
		}
		if len(shown.Blocks) != 1 || shown.Blocks[0].Node != owner.name || (shown.Blocks[0].RestsUntil != "") != resting {
			return fmt.Errorf("the block of %v is %+v; want %s's, resting: %v", a, shown.Blocks, owner.name, resting)
		}
		return nil
	})
}

// asksInVain waits until the node says that nobody has a block for it, and who has them.
func (n *node) asksInVain(t *testing.T, owners ...*node) {
	t.Helper()
	eventually(t, n.name+" says who has all blocks", func() bool {
		for line := range strings.Lines(n.log.String()) {
			lacks := strings.Contains(line, "ask for a block") && strings.Contains(line, "none is free")
			for _, owner := range owners {
				lacks = lacks && strings.Contains(line, owner.name+" has ")
			}
			if lacks {
				return true
			}
		}
		return false
	})
}
