package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// sweepPolicies finds which versions of policies the maps hold, after a restart,
// and removes those that no network's entry names: what a daemon that was killed
// had begun to write, or to delete.
func (m *Maps) sweepPolicies() error {
	if err := m.findPolicies(); err != nil {
		return err
	}
	for id := range m.versions {
		n, err := m.Network(id.network)
		if err != nil {
			return err
		}
		if n.Policy != id.version {
			if err := m.deleteVersion(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Maps) findPolicies() error {
	keysOf := func(network, version uint32) *policyKeys {
		id := policyVersion{network, version}
		if m.versions[id] == nil {
			m.versions[id] = &policyKeys{}
		}
		return m.versions[id]
	}
	err := eachKey(m.PolicyVectors, func(key PolicyKey) {
		k := keysOf(key.Network, key.Policy)
		k.vectors = append(k.vectors, key)
	})
	if err != nil {
		return err
	}
	err = eachKey(m.PolicyCidrs, func(key PolicyCIDRKey) {
		k := keysOf(networkOrder(key.Network), networkOrder(key.Policy))
		k.cidrs = append(k.cidrs, key)
	})
	if err != nil {
		return err
	}
	return eachKey(m.PolicyPorts, func(key PolicyPortKey) {
		k := keysOf(networkOrder(key.Network), networkOrder(key.Policy))
		k.ports = append(k.ports, key)
	})
}

// eachKey goes over the keys of a map that nobody writes meanwhile.
func eachKey[K any](m *ebpf.Map, f func(K)) error {
	var key K
	err := m.NextKey(nil, &key)
	for err == nil {
		f(key)
		previous := key
		err = m.NextKey(&previous, &key)
	}
	if !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read keys of map %s: %w", m, err)
	}
	return nil
}
