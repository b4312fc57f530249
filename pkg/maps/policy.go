package maps

import (
	"fmt"
	"maps"
	"slices"

	"github.com/zosnet/zosnet/pkg/policy"
)

// policyVersion is one version of one network's entries.
type policyVersion struct{ network, version uint32 }

// policyEntries is a policy.Program as the maps hold it.
type policyEntries struct {
	vectors []entry[PolicyKey, PolicyVector]
	cidrs   []entry[PolicyCIDRKey, uint32]
	ports   []entry[PolicyPortKey, uint32]
}

// policyKeys is what must go when a version does.
type policyKeys struct {
	vectors []PolicyKey
	cidrs   []PolicyCIDRKey
	ports   []PolicyPortKey
}

// encodePolicy gives the entries of a version. Vectors without a bit are left
// out: to the datapath a missing vector has none.
func encodePolicy(network, version uint32, p *policy.Program) (e policyEntries, err error) {
	add := func(dimension Dimension, class uint32, bits policy.Bits) {
		vector, fits := encodeBits(bits)
		if !fits {
			err = fmt.Errorf("encode policy of network %d: more than %d entries", network, PolicyEntries)
		}
		if vector.Summary == 0 {
			return
		}
		key := PolicyKey{Network: network, Policy: version, Dimension: uint32(dimension), Class: class}
		e.vectors = append(e.vectors, entry[PolicyKey, PolicyVector]{key, vector})
	}
	services := func(dimension Dimension, classes map[uint32]policy.Bits) {
		for _, class := range slices.Sorted(maps.Keys(classes)) {
			add(dimension, class, classes[class])
		}
	}
	list := func(dimension Dimension, classes []policy.Bits) {
		for class, bits := range classes {
			add(dimension, uint32(class), bits)
		}
	}
	services(FromService, p.FromService)
	services(ToService, p.ToService)
	list(FromCIDR, p.FromCIDR)
	list(ToCIDR, p.ToCIDR)
	list(PortClass, p.PortClasses)
	add(AllowClass, 0, p.Allow)
	add(LogClass, 0, p.Log)
	for _, c := range p.CIDRs {
		e.cidrs = append(e.cidrs, entry[PolicyCIDRKey, uint32]{encodeCIDR(network, version, c), c.Class})
	}
	for _, prefix := range p.Ports {
		e.ports = append(e.ports, entry[PolicyPortKey, uint32]{encodePort(network, version, prefix), prefix.Class})
	}
	return e, err
}

// encodeBits gives the vector, and whether it has room for the bits.
func encodeBits(bits policy.Bits) (v PolicyVector, fits bool) {
	fits = true
	for w, word := range bits {
		if word == 0 {
			continue
		}
		if w >= len(v.Words) {
			fits = false
			continue
		}
		v.Words[w] = word
		v.Summary |= 1 << w
	}
	return v, fits
}

func encodeCIDR(network, version uint32, c policy.CIDRClass) PolicyCIDRKey {
	key := PolicyCIDRKey{
		Prefixlen: 64 + mappedBits(c.Prefix),
		Network:   networkOrder(network), Policy: networkOrder(version),
	}
	key.Address.Bytes = c.Prefix.Masked().Addr().As16()
	return key
}

func encodePort(network, version uint32, p policy.PortPrefix) PolicyPortKey {
	key := PolicyPortKey{Prefixlen: 64, Network: networkOrder(network), Policy: networkOrder(version)}
	if !p.AnyProto {
		key.Prefixlen = 80 + uint32(p.Bits)
		key.Proto = networkOrder16(p.Proto)
		key.Port = networkOrder16(p.Port)
	}
	return key
}

func (e policyEntries) keys() *policyKeys {
	return &policyKeys{vectors: keysIn(e.vectors), cidrs: keysIn(e.cidrs), ports: keysIn(e.ports)}
}

func keysIn[K, V any](entries []entry[K, V]) []K {
	keys := make([]K, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return keys
}

// PutPolicy writes one version of a network's entries beside the others. Packets
// do not see it before PutNetwork names it. A version that a network's entry
// names, or did since the last DeletePolicy, must not be written again.
func (m *Maps) PutPolicy(network, version uint32, p policy.Program) error {
	if version == 0 {
		return fmt.Errorf("write policy of network %d: version 0 means that there is none", network)
	}
	entries, err := encodePolicy(network, version, &p)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := policyVersion{network, version}
	if err := m.deleteVersion(id); err != nil {
		return err
	}
	m.versions[id] = entries.keys()
	if err := putAll(m.PolicyVectors, entries.vectors); err != nil {
		return err
	}
	if err := putAll(m.PolicyCidrs, entries.cidrs); err != nil {
		return err
	}
	return putAll(m.PolicyPorts, entries.ports)
}

// DeletePolicy removes every version of a network's entries but one (0: all),
// once no packet that saw another can still be judged by it.
func (m *Maps) DeletePolicy(network, keepVersion uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var stale []policyVersion
	for id := range m.versions {
		if id.network == network && id.version != keepVersion {
			stale = append(stale, id)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	waitForReaders()
	for _, id := range stale {
		if err := m.deleteVersion(id); err != nil {
			return err
		}
	}
	return nil
}

// PolicyVersions gives the versions of a network's entries that the maps hold, in
// order.
func (m *Maps) PolicyVersions(network uint32) []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var versions []uint32
	for id := range m.versions {
		if id.network == network {
			versions = append(versions, id.version)
		}
	}
	slices.Sort(versions)
	return versions
}

func (m *Maps) deleteVersion(id policyVersion) error {
	keys, ok := m.versions[id]
	if !ok {
		return nil
	}
	if err := deleteAll(m.PolicyVectors, keys.vectors); err != nil {
		return err
	}
	if err := deleteAll(m.PolicyCidrs, keys.cidrs); err != nil {
		return err
	}
	if err := deleteAll(m.PolicyPorts, keys.ports); err != nil {
		return err
	}
	delete(m.versions, id)
	return nil
}
