package maps

import (
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Network gives a network's entry; one that was never put is the zero Network.
func (m *Maps) Network(id uint32) (n Network, err error) {
	if err = m.Networks.Lookup(&id, &n); err != nil {
		err = fmt.Errorf("read network %d (ids go up to %d): %w", id, MaxNetworks-1, err)
	}
	return n, err
}

// AllNetworks gives the entries of the networks that have one, by id; also of one
// that was deleted, whose generation stays.
func (m *Maps) AllNetworks() (map[uint32]Network, error) {
	all, err := readAll[uint32, Network](m.Networks)
	return withoutZeros(all), err
}

// PutNetwork writes a network's entry. Naming another policy version takes a
// generation that its flows were not judged under, greater than what Network
// gives: then every flow is judged again. The entry is left alone where it is
// equal.
func (m *Maps) PutNetwork(id uint32, n Network) error {
	have, err := m.Network(id)
	if err != nil || have == n {
		return err
	}
	if err := m.Networks.Put(&id, &n); err != nil {
		return fmt.Errorf("write network %d: %w", id, err)
	}
	return nil
}

// DeleteNetwork removes all that the maps hold about a network: entry, policy,
// bindings, flows, counters. Its ports must have gone before. Its generation is
// kept and counted up, so that whoever gets the id next inherits no verdict.
func (m *Maps) DeleteNetwork(id uint32) error {
	have, err := m.Network(id)
	if err != nil {
		return err
	}
	if have != (Network{Generation: have.Generation}) {
		if err := m.PutNetwork(id, Network{Generation: have.Generation + 1}); err != nil {
			return err
		}
	}
	if err := m.DeletePolicy(id, 0); err != nil {
		return err
	}
	if _, err := m.SetBindings(id, nil); err != nil {
		return err
	}
	if err := m.deleteFlows(id); err != nil {
		return err
	}
	return m.deleteCounters(id)
}

// deleteFlows removes the flows that use a network's room, and the room.
func (m *Maps) deleteFlows(network uint32) error {
	err := deleteWhere(m.Flows, func(_ FlowKey, f Flow) bool { return f.Owner == network })
	if err != nil {
		return err
	}
	err = deleteWhere(m.FlowSets, func(key bpfFlowSetKey, _ bpfFlowSet) bool { return key.Network == network })
	if err != nil {
		return err
	}
	return deleteWhere(m.Fragments, func(key bpfFragmentKey, _ bpfFragment) bool { return key.Network == network })
}

// AllPorts gives every workload's host-side interface by ifindex.
func (m *Maps) AllPorts() (map[uint32]Port, error) {
	return readAll[uint32, Port](m.Ports)
}

// PutPort says whose interface ifindex is. How many addresses the datapath has
// learned there is kept, unless the interface was another workload's.
func (m *Maps) PutPort(ifindex uint32, p Port) error {
	var have Port
	err := m.Ports.Lookup(&ifindex, &have)
	if err == nil && have.Network == p.Network && have.Workload == p.Workload {
		p.Learned = have.Learned
		if p == have {
			return nil
		}
	}
	if err := m.Ports.Put(&ifindex, &p); err != nil {
		return fmt.Errorf("write port %d: %w%s", ifindex, err, whenFull(m.Ports, err))
	}
	return nil
}

// DeletePort takes an interface out of the datapath's hands: it drops what comes
// from there. One that is not there is no error.
func (m *Maps) DeletePort(ifindex uint32) error {
	return deleteAll(m.Ports, []uint32{ifindex})
}

// PutPrefixes makes the prefixes given this node's address space: PrefixTenant or
// PrefixNode of each. More than MaxPrefixes change nothing.
func (m *Maps) PutPrefixes(prefixes map[netip.Prefix]uint32) error {
	if len(prefixes) > MaxPrefixes {
		return fmt.Errorf("write this node's address space: its prefixes have %d pieces (themselves, the first /64 of up to 256 blocks of each), the datapath holds %d; list fewer prefixes in node.yaml",
			len(prefixes), MaxPrefixes)
	}
	want := make(map[PrefixKey]uint32, len(prefixes))
	for prefix, kind := range prefixes {
		want[encodePrefix(prefix)] = kind
	}
	return replaceAll(m.Prefixes, want)
}

func encodePrefix(p netip.Prefix) PrefixKey {
	key := PrefixKey{Prefixlen: mappedBits(p)}
	key.Address.Bytes = p.Masked().Addr().As16()
	return key
}

// deleteWhere removes the entries of a map that match.
func deleteWhere[K, V any](m *ebpf.Map, match func(K, V) bool) error {
	var keys []K
	err := eachRaw(m, func(rawKey []byte, values [][]byte) error {
		var key K
		var value V
		if err := decode(rawKey, &key); err != nil {
			return err
		}
		if err := decode(values[0], &value); err != nil {
			return err
		}
		if match(key, value) {
			keys = append(keys, key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return deleteAll(m, keys)
}
