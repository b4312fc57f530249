package delegation

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// Config is what a Space needs to know.
type Config struct {
	Node    func() *spec.Node        // node.yaml as it is now; its name never changes
	Store   *registry.Store          // the node's own registry
	Change  sync.Locker              // held while something is checked against Store and then written to it
	InGrid  func() bool              // whether the node is in a grid
	Grid    func() *gridstore.Client // the grid's registry as this node knows it; nil: it is in none, or that is not open yet
	Uplinks func() []string          // the names of the interfaces that lead to the world
	Log     *slog.Logger
}

// Space is the address space of this node: what it holds, and what it has of others. Its
// methods may be called from several goroutines; what they are given as local is a
// snapshot of the node's own registry.
type Space struct {
	node    func() *spec.Node
	store   *registry.Store
	change  sync.Locker
	inGrid  func() bool
	grid    func() *gridstore.Client
	uplinks func() []string
	log     *slog.Logger

	// holding is held while what this node holds for the grid is changed, and taken
	// before change.
	holding sync.Mutex
	written ipam.Holding // what was made of it last: the grid's snapshots may not know it yet

	unsettled atomic.Pointer[string]
}

// New gives the space of a node. Nothing is done by itself.
func New(c Config) *Space {
	return &Space{node: c.Node, store: c.Store, change: c.Change, inGrid: c.InGrid, grid: c.Grid, uplinks: c.Uplinks, log: c.Log}
}

// Giving is node.yaml with the prefixes that networks get /64s from now. Whoever gives
// one from them holds Config.Change.
func (s *Space) Giving(local registry.Snapshot) *spec.Node {
	return giving(s.node(), local, s.inGrid())
}

// Whole is node.yaml with all of this node's address space.
func (s *Space) Whole(local registry.Snapshot) *spec.Node {
	return whole(s.node(), local, s.given())
}

// Prefixes gives what this node holds, and then the blocks of others that it gives from.
func (s *Space) Prefixes(local registry.Snapshot) []netip.Prefix {
	node := s.node()
	return append(prefixesOf(registrations(node, local)), ofOthers(node.Name, local.Blocks)...)
}

// Unsettled tells what of the address space this node and the grid do not agree about,
// as the last Settle found it; nothing: they agree.
func (s *Space) Unsettled() string {
	if what := s.unsettled.Load(); what != nil {
		return *what
	}
	return ""
}

// given tells what this node has given away of what it holds, as far as it knows:
// also without the registry.
func (s *Space) given() map[netip.Prefix]ipam.Delegation {
	if client := s.grid(); client != nil {
		return heldInGrid(client, s.node().Name).Blocks
	}
	return nil
}

// heldInGrid gives what this node holds as the grid has it; nothing where client is nil.
func heldInGrid(client *gridstore.Client, node string) ipam.Holding {
	if client != nil {
		if self := client.Snapshot().Nodes[node]; self != nil {
			return self.Holding
		}
	}
	return ipam.Holding{}
}

// Stranded says which networks have a /64 that is in nothing that this node gives from
// any more. They keep it, since moving one renumbers its workloads.
func (s *Space) Stranded(local registry.Snapshot) (list []string) {
	return stranded(s.Giving(local), local.IPAM, s.inGrid())
}

func stranded(giving *spec.Node, state ipam.State, inGrid bool) (list []string) {
	blocks, err := ipam.ParseBlocks(giving.Prefixes)
	if err != nil {
		return nil // what is wrong with node.yaml is said elsewhere
	}
	what := "in no prefix of this node any more: it works as long as that is routed here"
	if inGrid {
		what = "in no block of this node any more: other nodes leave it out, and an hour after the block was taken back somebody else may have it"
	}
	for _, s := range state.Stranded(blocks) {
		list = append(list, fmt.Sprintf("network %s has %s, which is %s; delete the network and apply it again", s.Network, s.Prefix, what))
	}
	return list
}
