package maps

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// readSums gives the entries of a per-CPU map, summed over the CPUs by add.
func readSums[K comparable, V any](m *ebpf.Map, add func(sum *V, v V)) (map[K]V, error) {
	all := map[K]V{}
	err := eachRaw(m, func(rawKey []byte, values [][]byte) error {
		var key K
		if err := decode(rawKey, &key); err != nil {
			return err
		}
		var sum V
		for _, raw := range values {
			var v V
			if err := decode(raw, &v); err != nil {
				return err
			}
			add(&sum, v)
		}
		all[key] = sum
		return nil
	})
	return all, err
}

func (c *bpfCounter) add(other Counter) {
	c.Packets += other.Packets
	c.Bytes += other.Bytes
}

// ReadDrops gives the packets dropped, by network and reason; network 0 stands
// for those that belong to none.
func (m *Maps) ReadDrops() (map[DropKey]Counter, error) {
	return readSums[DropKey](m.Drops, func(sum *Counter, v Counter) { sum.add(v) })
}

// ReadLockdownDrops gives the packets that the lockdown dropped, by reason;
// reasons without any are left out.
func (m *Maps) ReadLockdownDrops() (map[DropReason]Counter, error) {
	all, err := readSums[DropReason](m.LockdownDrops, func(sum *Counter, v Counter) { sum.add(v) })
	return withoutZeros(all), err
}

// ReadEventsLost gives how many events found the ring buffer full.
func (m *Maps) ReadEventsLost() (uint64, error) {
	all, err := readSums[uint32](m.EventsLost, func(sum *uint64, v uint64) { *sum += v })
	return all[0], err
}

// ReadTraffic gives what a network's workloads sent and received; networks
// without any are left out.
func (m *Maps) ReadTraffic() (map[uint32]Traffic, error) {
	all, err := readSums[uint32](m.Traffic, func(sum *Traffic, v Traffic) {
		sum.Egress.add(v.Egress)
		sum.Ingress.add(v.Ingress)
	})
	return withoutZeros(all), err
}

// ReadRuleCounts gives how many flows each entry of a network's policy decided.
func (m *Maps) ReadRuleCounts() (map[RuleKey]RuleCount, error) {
	return readSums[RuleKey](m.RuleCounts, func(sum *RuleCount, v RuleCount) { sum.Flows += v.Flows })
}

// DeleteRuleCounts forgets a network's counts, whose numbers mean other entries
// under another policy.
func (m *Maps) DeleteRuleCounts(network uint32) error {
	counts, err := m.ReadRuleCounts()
	if err != nil {
		return err
	}
	var keys []RuleKey
	for key := range counts {
		if key.Network == network {
			keys = append(keys, key)
		}
	}
	return deleteAll(m.RuleCounts, keys)
}

func (m *Maps) deleteCounters(network uint32) error {
	if err := m.DeleteRuleCounts(network); err != nil {
		return err
	}
	drops, err := m.ReadDrops()
	if err != nil {
		return err
	}
	var keys []DropKey
	for key := range drops {
		if key.Network == network {
			keys = append(keys, key)
		}
	}
	if err := deleteAll(m.Drops, keys); err != nil {
		return err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	if err := m.Traffic.Put(&network, make([]Traffic, cpus)); err != nil {
		return fmt.Errorf("clear traffic of network %d: %w", network, err)
	}
	return nil
}

func withoutZeros[K, V comparable](all map[K]V) map[K]V {
	var zero V
	for key, v := range all {
		if v == zero {
			delete(all, key)
		}
	}
	return all
}
