package delegation

import (
	"context"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// Holdings gives what nodes hold, by node: those of the whole grid while its
// registry can be reached, else those that are known here. With them comes what the
// node's own registry said at that moment.
func (s *Space) Holdings(ctx context.Context) (registry.Snapshot, map[string]ipam.Holding, error) {
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return local, nil, err
	}
	node := s.node()
	own := ipam.Holding{Holder: node.Name, Registrations: map[netip.Prefix]ipam.Registration{}, Blocks: s.given()}
	for _, r := range registrations(node, local) {
		if r.Source == fromDocument {
			r.Source = node.Where["prefixes"].String()
		}
		own.Registrations[r.Prefix] = r
	}
	holdings := map[string]ipam.Holding{}
	if client := s.grid(); client != nil {
		snap := client.Snapshot()
		if snap.Source == gridstore.SourceCluster {
			holdings, err = client.Holdings(ctx)
		}
		if snap.Source != gridstore.SourceCluster || err != nil {
			holdings = knownHoldings(snap)
		}
		if h := holdings[node.Name]; len(h.Blocks) > 0 {
			own.Blocks = h.Blocks
		}
	}
	holdings[node.Name] = own
	return local, holdings, nil
}

func knownHoldings(snap gridstore.Snapshot) map[string]ipam.Holding {
	known := map[string]ipam.Holding{}
	for name, n := range snap.Nodes {
		if len(n.Holding.Registrations) > 0 {
			known[name] = n.Holding
		}
	}
	return known
}
