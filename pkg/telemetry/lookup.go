package telemetry

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// Lookup turns the datapath's numbers into names. Its functions are called from
// several goroutines.
type Lookup struct {
	Network   func(id uint32) (Network, bool) // false: there is none of that id
	Interface func(index uint32) string
}

// Network is what a network is called, and what is in it.
type Network struct {
	Name      string
	Rules     []string          // by position in the policy: rules[0], expose[1], default.inside
	Workloads map[uint32]string // by host number
}

// rule gives the name of an entry, or "" where the policy has none at the position
// (~0: no entry decided).
func (n Network) rule(entry uint32) string {
	if int64(entry) < int64(len(n.Rules)) {
		return n.Rules[entry]
	}
	return ""
}

// remembering gives a lookup that asks for each network only once, for one reading
// of many numbers.
func (l Lookup) remembering() Lookup {
	type answer struct {
		network Network
		known   bool
	}
	asked := map[uint32]answer{}
	return Lookup{Interface: l.Interface, Network: func(id uint32) (Network, bool) {
		a, ok := asked[id]
		if !ok {
			a.network, a.known = l.Network(id)
			asked[id] = a
		}
		return a.network, a.known
	}}
}

// network gives a network's name; "" for outside and the host, which are 0.
func (l Lookup) network(id uint32) (Network, bool) {
	if id == 0 {
		return Network{}, true
	}
	return l.Network(id)
}

// interfacesFresh is how long a list of interfaces is good for.
const interfacesFresh = time.Second

// Interfaces knows the interfaces of the network namespace it is used in by their
// index. The zero value is ready.
type Interfaces struct {
	mu    sync.Mutex
	names map[uint32]string
	read  time.Time
}

// Name gives an interface's name, as it is or was within the last second. One that
// is gone keeps its name until another has its index; one that was never seen is
// "if" and the index.
func (i *Interfaces) Name(index uint32) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now := time.Now(); now.Sub(i.read) > interfacesFresh {
		i.read = now
		i.refresh()
	}
	if name, known := i.names[index]; known {
		return name
	}
	return "if" + strconv.FormatUint(uint64(index), 10)
}

func (i *Interfaces) refresh() {
	links, err := net.Interfaces()
	if err != nil {
		return // the names from before still serve
	}
	if i.names == nil {
		i.names = make(map[uint32]string, len(links))
	}
	for _, link := range links {
		i.names[uint32(link.Index)] = link.Name
	}
}
