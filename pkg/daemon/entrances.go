package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// entrances keeps the keys and ports by which people's devices come into networks
// here. Both stand in configurations that people have, so they stay as long as the
// network does, also while no device of it ends here.
type entrances struct {
	keys *wireguard.Keys // by network
	path string          // of the ports

	mu    sync.Mutex
	ports map[string]uint16 // by network
}

func openEntrances(stateDir string) (*entrances, error) {
	keys, err := wireguard.OpenKeys(filepath.Join(stateDir, "entrances"))
	if err != nil {
		return nil, err
	}
	e := &entrances{keys: keys, path: filepath.Join(stateDir, "entrances.json"), ports: map[string]uint16{}}
	if err := readKept(e.path, &e.ports); err != nil {
		return nil, fmt.Errorf("read the ports of entrances: %w", err)
	}
	return e, nil
}

// add gives an input the key and the port of each network whose access ends here.
func (e *entrances) add(in *plan.Input, keys keyMaking) error {
	for _, r := range in.Networks {
		if !endsAt(*in, r.Document) {
			continue
		}
		entrance, err := e.of(r.Document.Name, in.Node.Name, keys)
		if err != nil {
			return err
		}
		in.Entrances = append(in.Entrances, entrance)
	}
	return nil
}

// endsAt tells whether an access device of a network ends at an input's node.
func endsAt(in plan.Input, document *spec.Network) bool {
	return slices.ContainsFunc(document.Access, func(a spec.Access) bool {
		node, _ := plan.AccessEnd(document, a, in.Reachable)
		return node == in.Node.Name
	})
}

// of gives what a network's entrance has here. What there is not yet is made, or only
// foreseen: then the port may become another one, and there is no key.
func (e *entrances) of(network, node string, keys keyMaking) (plan.EntranceKey, error) {
	key, err := keys.key(e.keys, network)
	if err != nil {
		return plan.EntranceKey{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	port, known := e.ports[network]
	if !known {
		if port, err = wireguard.EntrancePort(network, node, e.taken); err != nil {
			return plan.EntranceKey{}, err
		}
	}
	if !known && keys == makeKeys {
		e.ports[network] = port
		if err := e.store(); err != nil {
			delete(e.ports, network)
			return plan.EntranceKey{}, err
		}
	}
	return plan.EntranceKey{Network: network, PublicKey: key, Port: port}, nil
}

// taken tells whether a port is some network's. e.mu is held.
func (e *entrances) taken(port uint16) bool {
	for _, other := range e.ports {
		if other == port {
			return true
		}
	}
	return false
}

// forget removes what a network had that is gone.
func (e *entrances) forget(network string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.ports[network]; !known {
		return nil
	}
	delete(e.ports, network)
	return errors.Join(e.keys.Remove(network), e.store())
}

// store writes the ports. e.mu is held.
func (e *entrances) store() error {
	if err := writeKept(e.path, e.ports); err != nil {
		return fmt.Errorf("keep the ports of entrances: %w", err)
	}
	return nil
}
