package maps

import (
	"fmt"
	"net/netip"
)

// BindingOf gives the key under which the datapath looks up an address of a
// network: link-local ones stand apart by network.
func BindingOf(a netip.Addr, network uint32) BindingKey {
	key := BindingKey{Address: AddressOf(a)}
	if a.IsLinkLocalUnicast() {
		key.Zone = network
	}
	return key
}

// AllBindings gives who has which address, of every network.
func (m *Maps) AllBindings() (map[BindingKey]Binding, error) {
	return readAll[BindingKey, Binding](m.Bindings)
}

// SetBindings makes the bindings given the ones of a network, and says whether
// anything changed: then the network's generation has to be counted up. Those
// that the datapath has learned meanwhile stay as long as their port does.
func (m *Maps) SetBindings(network uint32, want map[BindingKey]Binding) (changed bool, err error) {
	for key, b := range want {
		if b.Network != network {
			return false, fmt.Errorf("write bindings of network %d: %s is of network %d", network, key.Address.Addr(), b.Network)
		}
	}
	have, err := m.AllBindings()
	if err != nil {
		return false, err
	}
	ports, err := m.AllPorts()
	if err != nil {
		return false, err
	}
	puts, deletes := bindingChanges(network, have, want, ports)
	if err := putAll(m.Bindings, puts); err != nil {
		return true, err
	}
	return len(puts)+len(deletes) > 0, deleteAll(m.Bindings, deletes)
}

// bindingChanges gives what must be written and deleted.
func bindingChanges(network uint32, have, want map[BindingKey]Binding, ports map[uint32]Port) (
	puts []entry[BindingKey, Binding], deletes []BindingKey,
) {
	for key, b := range want {
		if old, ok := have[key]; !ok || old != b {
			puts = append(puts, entry[BindingKey, Binding]{key, b})
		}
	}
	for key, b := range have {
		if _, wanted := want[key]; wanted || b.Network != network {
			continue
		}
		port, attached := ports[b.Ifindex]
		if b.Learned != 0 && attached && port.Network == network && port.Workload == b.Workload {
			continue
		}
		deletes = append(deletes, key)
	}
	return puts, deletes
}

// ChangeBindings writes bindings of any networks and takes others away, without
// looking at what is there.
func (m *Maps) ChangeBindings(put map[BindingKey]Binding, gone []BindingKey) error {
	puts := make([]entry[BindingKey, Binding], 0, len(put))
	for key, b := range put {
		puts = append(puts, entry[BindingKey, Binding]{key, b})
	}
	if err := putAll(m.Bindings, puts); err != nil {
		return err
	}
	return deleteAll(m.Bindings, gone)
}

// DeleteBinding takes an address from whoever has it. One that nobody has is no
// error.
func (m *Maps) DeleteBinding(key BindingKey) error {
	return deleteAll(m.Bindings, []BindingKey{key})
}
