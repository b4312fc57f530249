package daemon

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// membership is what this node has of the grid's networks.
type membership struct {
	keys    *wireguard.Keys // of its overlays, by network and generation
	adopted *adopted

	mu    sync.Mutex
	given map[string]bool // keys that were given up and whose files are still there
}

func openMembership(stateDir string) (*membership, error) {
	keys, err := wireguard.OpenKeys(filepath.Join(stateDir, "overlays"))
	if err != nil {
		return nil, err
	}
	adopted, err := openAdopted(stateDir)
	return &membership{keys: keys, adopted: adopted, given: map[string]bool{}}, err
}

// parts gives what this node carries of the grid's networks, by name. A network has
// a part as soon as it is stored here and its document names another node too.
func (m *membership) parts(local registry.Snapshot, snap gridstore.Snapshot, documents *decoder, node *spec.Node, keys keyMaking) ([]plan.Part, error) {
	made, err := m.generations()
	if err != nil {
		return nil, err
	}
	var list []plan.Part
	for _, r := range local.Networks {
		network := snap.Networks[r.Name]
		if network == nil || !m.adopted.has(r.Name) {
			continue
		}
		document, err := documents.network(r)
		if err != nil {
			return nil, err
		}
		if !document.CarriedBy(node.Name) || len(document.Carriers()) < 2 {
			continue
		}
		part, err := m.withKeys(plan.Part{Network: r.Name, Node: node.Name, Prefix: r.Prefix}, made[r.Name], carriersParts(document, network.Parts), keys)
		if err != nil {
			return nil, err
		}
		list = append(list, part)
	}
	return list, givePorts(list, node.Name)
}

// adopted remembers which of the stored networks are the grid's: only those go when
// their owner releases them, and no stranger's document takes the place of a
// network that this node had for itself.
type adopted struct {
	path string
	mu   sync.Mutex
	list map[string]bool
}

func openAdopted(stateDir string) (*adopted, error) {
	a := &adopted{path: filepath.Join(stateDir, "adopted.json"), list: map[string]bool{}}
	if err := readKept(a.path, &a.list); err != nil {
		return nil, fmt.Errorf("read which networks are the grid's: %w", err)
	}
	return a, nil
}

func (a *adopted) has(network string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list[network]
}

// set notes that a network is the grid's, or is not any more.
func (a *adopted) set(network string, is bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list[network] == is {
		return nil
	}
	a.list[network] = is
	if !is {
		delete(a.list, network)
	}
	if err := writeKept(a.path, a.list); err != nil {
		return fmt.Errorf("note whether network %s is the grid's: %w", network, err)
	}
	return nil
}

// names lists the grid's networks that are stored here.
func (a *adopted) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	for name := range a.list {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
