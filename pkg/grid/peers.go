package grid

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

const (
	// Keepalive is how often a hidden node speaks to those it dialled, so that its
	// router keeps the way back (WireGuard's own advice); and a member to every node:
	// one whose clock was ahead and was put right begins in vain, since its peers take
	// what it begins for old until their own time has passed. What they begin it takes.
	// Where packets go anyway it costs nothing.
	Keepalive = 25 * time.Second
	// guestGrace is how long somebody who has joined remains a guest: its answer
	// may still be on the way.
	guestGrace = 2 * time.Minute
)

// Node is what the control network knows of a node.
type Node struct {
	Name       string           `json:"name"`
	Address    netip.Addr       `json:"address"` // control address
	ControlKey trust.ControlKey `json:"controlKey"`
	// Endpoint is where its control interface is reached; invalid: the node is
	// hidden and dials.
	Endpoint netip.AddrPort `json:"endpoint,omitzero"`
}

// Peer is one peer of a control interface.
type Peer struct {
	PublicKey  trust.ControlKey
	Endpoint   netip.AddrPort // invalid: it dials
	AllowedIPs []netip.Prefix
	Keepalive  time.Duration // 0: none
}

// View is what a node knows when it makes its control interface's peers. Nodes are
// those whose records and certificates were believed.
type View struct {
	Self    string
	Control netip.Prefix
	Nodes   []Node // every node of the grid, this one too
	Members []string
	Pending []trust.PendingToken // made by this node
}

// Peers gives the peers of a node's control interface, sorted by public key: a
// member has every node and the guests that it invited, another node has the
// members. Two nodes that claim one address or key are an error, and the one that
// comes later by name is left out; the other peers are right.
func Peers(v View, now time.Time) ([]Peer, error) {
	var errs []error
	var list []Peer
	member := slices.Contains(v.Members, v.Self)
	addresses, keys := map[netip.Addr]string{}, map[trust.ControlKey]string{}
	nodes := slices.SortedFunc(slices.Values(v.Nodes), func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	hidden := !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == v.Self && n.Endpoint.IsValid() })
	for _, n := range nodes {
		if err := claim(v, n, addresses, keys); err != nil {
			errs = append(errs, err)
			continue
		}
		if n.Name == v.Self || !member && !slices.Contains(v.Members, n.Name) {
			continue
		}
		p := Peer{PublicKey: n.ControlKey, Endpoint: n.Endpoint, AllowedIPs: only(n.Address)}
		if member || hidden && n.Endpoint.IsValid() {
			p.Keepalive = Keepalive
		}
		list = append(list, p)
	}
	for _, token := range v.Pending {
		if isGuestNow(token, now) && keys[token.Peer] == "" {
			keys[token.Peer] = "token " + token.ID
			list = append(list, Peer{PublicKey: token.Peer, AllowedIPs: only(GuestAddress(v.Control, token.Peer))})
		}
	}
	slices.SortFunc(list, func(a, b Peer) int { return slices.Compare(a.PublicKey[:], b.PublicKey[:]) })
	return list, errors.Join(errs...)
}

// claim notes what a node claims, or says why it cannot have it.
func claim(v View, n Node, addresses map[netip.Addr]string, keys map[trust.ControlKey]string) error {
	switch {
	case !v.Control.Contains(n.Address) || isGuest(n.Address) || n.Address == v.Control.Addr():
		return fmt.Errorf("node %s: %v is no node's address in the control network %v", n.Name, n.Address, v.Control)
	case n.ControlKey == trust.ControlKey{}:
		return fmt.Errorf("node %s has no control key", n.Name)
	case addresses[n.Address] != "":
		return fmt.Errorf("node %s: control address %v belongs to node %s", n.Name, n.Address, addresses[n.Address])
	case keys[n.ControlKey] != "":
		return fmt.Errorf("node %s: control key %v belongs to node %s", n.Name, n.ControlKey, keys[n.ControlKey])
	}
	addresses[n.Address], keys[n.ControlKey] = n.Name, n.Name
	return nil
}

func isGuestNow(token trust.PendingToken, now time.Time) bool {
	if token.Used != nil {
		return now.Before(token.Used.At.Add(guestGrace))
	}
	return now.Before(token.Expires)
}

// Guest is the control interface of a node that is about to join.
type Guest struct {
	PrivateKey func() [32]byte // so that it does not print
	Address    netip.Addr
	Peer       Peer // the node that invites
}

// Guests gives the interface of a node that is about to join, once for each way to
// the node that invites.
func Guests(token *trust.Token) []Guest {
	control := netip.PrefixFrom(token.Service.Addr(), 64).Masked()
	var list []Guest
	for _, endpoint := range token.Endpoints {
		list = append(list, Guest{
			PrivateKey: token.PeerPrivateKey,
			Address:    GuestAddress(control, token.PeerPublicKey()),
			Peer: Peer{
				PublicKey: token.ControlKey, Endpoint: endpoint, AllowedIPs: only(token.Service.Addr()), Keepalive: Keepalive,
			},
		})
	}
	return list
}

func only(addr netip.Addr) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(addr, 128)} }
