package daemon

import (
	"testing"

	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// TestUnheardOf: a network of which a registry knows nothing is told, once the registry
// was asked, and one whose document is known is not.
func TestUnheardOf(t *testing.T) {
	snap := gridstore.Snapshot{
		Source:   gridstore.SourceCluster,
		Networks: map[string]*gridstore.Network{"acme": {Name: "acme"}},
		Carried:  map[string]*gridstore.Document{"globex": {Document: trust.Document{Network: "globex"}}},
	}
	adopted := []string{"acme", "globex", "initech"}
	list := unheardOf(snap, adopted)
	if len(list) != 1 || list[0].Object != "network initech" {
		t.Errorf("told are %v, want initech", list)
	}
	snap.Source = gridstore.SourceCache
	if list := unheardOf(snap, adopted); len(list) != 0 {
		t.Errorf("before the registry was reached %v are told", list)
	}
}
