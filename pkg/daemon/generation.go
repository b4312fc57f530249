package daemon

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// keyMaking says whether a plan that lacks a key of this node's has it made. Only what
// is enforced has: what is looked at, or may still be refused, leaves nothing behind.
type keyMaking bool

const (
	makeKeys keyMaking = true
	findKeys keyMaking = false // what there is not is the zero key
)

// key gives the public half of a key, made first where there is none and it is wanted.
func (m keyMaking) key(keys *wireguard.Keys, name string) (wireguard.PublicKey, error) {
	get := keys.Load
	if m == makeKeys {
		get = keys.Make
	}
	key, err := get(name)
	if m == findKeys && errors.Is(err, fs.ErrNotExist) {
		return wireguard.PublicKey{}, nil
	}
	if err != nil {
		return wireguard.PublicKey{}, err
	}
	return key.Public(), nil
}

// overdue is how long a change of keys waits for a peer that is silent. It finds the
// new key in the registry when it comes back.
const overdue = 24 * time.Hour

// generations is when the node made its keys of a network. Of two the newer one takes
// the older one's place: so a change of keys is under way as long as both files are
// there, whatever becomes of the daemon.
type generations map[wireguard.Generation]time.Time

// order gives them oldest first.
func (g generations) order() []wireguard.Generation {
	return slices.SortedFunc(maps.Keys(g), func(a, b wireguard.Generation) int {
		if a.After(b) {
			return 1
		}
		return -1 // no two are the same
	})
}

// generations gives those of each network, without keys that were given up.
func (m *membership) generations() (map[string]generations, error) {
	made, err := m.keys.Made()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]generations{}
	for name, at := range made {
		network, g, ok := wireguard.ParseKeyName(name)
		if !ok || m.given[name] {
			continue
		}
		if all[network] == nil {
			all[network] = generations{}
		}
		all[network][g] = at
	}
	return all, nil
}

// giveUp leaves a key out from now on. Its file stays until its device is gone.
func (m *membership) giveUp(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.given[name] = true
}

// forget removes the file of a key.
func (m *membership) forget(name string) error {
	err := m.keys.Remove(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.given, name)
	}
	return err
}

// forgetNetwork removes every key of a network.
func (m *membership) forgetNetwork(network string) error {
	made, err := m.keys.Made()
	for name := range made {
		if of, _, ok := wireguard.ParseKeyName(name); ok && of == network {
			err = errors.Join(err, m.forget(name))
		}
	}
	return err
}

// withKeys gives this node's part of a network its keys, and makes those that it lacks:
// the first one, which is of the generation that the others have, and the next one
// where another node changes its own. Ports are those that were published with them.
func (m *membership) withKeys(part plan.Part, have generations, published map[string]*gridstore.Part, keys keyMaking) (plan.Part, error) {
	order, others := have.order(), othersParts(published, part.Node)
	if len(order) == 0 {
		order = append(order, newest(0, others, currentOf))
	}
	if len(order) == 1 {
		order = append(order, asked(order[0], others)...)
	}
	own := published[part.Node]
	key, err := keys.key(m.keys, wireguard.KeyName(part.Network, order[0]))
	if err != nil {
		return part, err
	}
	part.Generation, part.PublicKey, part.Port = order[0], key, publishedPort(own, key)
	if len(order) == 1 {
		return part, nil
	}
	g := order[len(order)-1]
	if key, err = keys.key(m.keys, wireguard.KeyName(part.Network, g)); err != nil {
		return part, err
	}
	part.Next = &plan.Successor{Generation: g, PublicKey: key, Port: publishedPort(own, key)}
	began, known := have[g]
	part.Overdue = known && time.Since(began) > overdue
	return part, nil
}

// carriersParts leaves out the parts of nodes that the document does not name: nobody
// changes a key because of them.
func carriersParts(document *spec.Network, parts map[string]*gridstore.Part) map[string]*gridstore.Part {
	named := map[string]*gridstore.Part{}
	for node, part := range parts {
		if document.CarriedBy(node) {
			named[node] = part
		}
	}
	return named
}

func othersParts(published map[string]*gridstore.Part, self string) (list []*gridstore.Part) {
	for node, part := range published {
		if node != self {
			list = append(list, part)
		}
	}
	return list
}

func currentOf(p *gridstore.Part) wireguard.Generation { return wireguard.Generation(p.Generation) }

func nextOf(p *gridstore.Part) wireguard.Generation {
	if p.Next == nil {
		return currentOf(p)
	}
	return wireguard.Generation(p.Next.Generation)
}

// newest gives the newest generation of parts, at least the one that is given.
func newest(g wireguard.Generation, parts []*gridstore.Part, of func(*gridstore.Part) wireguard.Generation) wireguard.Generation {
	for _, p := range parts {
		if of(p).After(g) {
			g = of(p)
		}
	}
	return g
}

// asked gives the generation that other nodes have come to, or go to, none if that is
// ours. One that some of them only have comes first.
func asked(own wireguard.Generation, others []*gridstore.Part) []wireguard.Generation {
	for _, of := range []func(*gridstore.Part) wireguard.Generation{currentOf, nextOf} {
		if g := newest(own, others, of); g != own {
			return []wireguard.Generation{g}
		}
	}
	return nil
}

// publishedPort gives the port that was published with a key, 0 if none was.
func publishedPort(p *gridstore.Part, key wireguard.PublicKey) uint16 {
	switch {
	case p == nil:
		return 0
	case p.PublicKey == key.String():
		return p.Port
	case p.Next != nil && p.Next.PublicKey == key.String():
		return p.Next.Port
	}
	return 0
}

// givePorts gives each key that has no port yet the next free one of this node.
func givePorts(parts []plan.Part, node string) error {
	type want struct {
		network string
		port    *uint16
	}
	var wants []want
	taken := map[uint16]bool{}
	for i := range parts {
		wants = append(wants, want{parts[i].Network, &parts[i].Port})
		if next := parts[i].Next; next != nil {
			wants = append(wants, want{parts[i].Network, &next.Port})
		}
	}
	for _, w := range wants {
		taken[*w.port] = true
	}
	for _, w := range wants {
		if *w.port != 0 {
			continue
		}
		port, err := wireguard.Port(w.network, node, func(p uint16) bool { return taken[p] })
		if err != nil {
			return err
		}
		*w.port, taken[port] = port, true
	}
	return nil
}
