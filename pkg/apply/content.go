package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	bpf "github.com/zosnet/zosnet/pkg/maps"
)

// Where policies have more than fewEntries in all, contentShare keeps what it costs
// to read them to a fiftieth of a processor: the next reading waits so many times what
// the last one took.
const (
	fewEntries   = 20000
	contentShare = 50
)

// content is what the maps hold of a version of a network's policy. Entries are
// counted and their sums added up, so that their order does not matter.
type content struct {
	Policy  uint32 `json:"policy"` // version
	Entries int    `json:"entries"`
	Sum     uint64 `json:"sum"`
}

type versionOf struct{ network, policy uint32 }

// inspectPolicies finds the networks whose policy somebody has changed in the maps:
// it is no more what was read after it was written. Nothing tells of that, and there
// may be a hundred thousand entries.
func (p *pass) inspectPolicies() {
	if !p.slow || time.Now().Before(p.nextContents) {
		return
	}
	begin := time.Now()
	have, err := readContents(p.config.Datapath.Maps())
	if p.failIf("policies", err) {
		return
	}
	entries := 0
	for _, c := range have {
		entries += c.Entries
	}
	if entries > fewEntries {
		p.nextContents = time.Now().Add(contentShare * time.Since(begin))
	}
	for _, n := range p.want.Networks {
		entry, err := p.config.Datapath.Maps().Network(n.ID)
		if err != nil {
			continue // setNetwork says so
		}
		noted, known := p.ledger.Contents[n.ID]
		if known && noted.Policy == entry.Policy && noted != have[versionOf{n.ID, entry.Policy}] {
			p.tampered[n.ID] = true
		}
	}
}

// noteContents notes what the maps hold of policies that this pass has written, and
// of those that no ledger tells of.
func (p *pass) noteContents() {
	networks := map[uint32]uint32{} // the version in force
	for _, n := range p.want.Networks {
		noted := p.ledger.Policies[n.ID]
		if noted.Number != 0 && p.ledger.Contents[n.ID].Policy != noted.Number {
			networks[n.ID] = noted.Number
		}
	}
	if len(networks) == 0 {
		return
	}
	have, err := readContents(p.config.Datapath.Maps())
	if p.failIf("policies", err) {
		return
	}
	for id, version := range networks {
		p.ledger.Contents[id] = have[versionOf{id, version}]
	}
	p.failIf("policies", p.ledger.save())
}

// readContents reads the policies of every network.
func readContents(m *bpf.Maps) (map[versionOf]content, error) {
	contents := map[versionOf]content{}
	add := func(network, policy uint32, s sum) {
		of := versionOf{network, policy}
		c := contents[of]
		contents[of] = content{policy, c.Entries + 1, c.Sum + uint64(s)}
	}
	err := eachEntry(m.PolicyVectors, func(key *bpf.PolicyKey, v *bpf.PolicyVector) {
		s := sumOf(uint64(key.Dimension)<<32|uint64(key.Class), v.Summary)
		for _, word := range v.Words {
			s = s.with(word)
		}
		add(key.Network, key.Policy, s)
	})
	if err != nil {
		return nil, err
	}
	err = eachEntry(m.PolicyCidrs, func(key *bpf.PolicyCIDRKey, class *uint32) {
		a := key.Address.Bytes
		s := sumOf(uint64(key.Prefixlen)<<32|uint64(*class), binary.NativeEndian.Uint64(a[:8])).with(binary.NativeEndian.Uint64(a[8:]))
		add(hostOrder(key.Network), hostOrder(key.Policy), s)
	})
	if err != nil {
		return nil, err
	}
	err = eachEntry(m.PolicyPorts, func(key *bpf.PolicyPortKey, class *uint32) {
		s := sumOf(uint64(key.Prefixlen)<<32|uint64(*class), uint64(key.Proto)<<16|uint64(key.Port))
		add(hostOrder(key.Network), hostOrder(key.Policy), s)
	})
	return contents, err
}

// sum is an FNV-1a hash that goes by words instead of bytes: it is to find what
// somebody changed, not to withstand whoever looks for a collision.
type sum uint64

func sumOf(words ...uint64) sum {
	s := sum(0xcbf29ce484222325)
	for _, word := range words {
		s = s.with(word)
	}
	return s
}

func (s sum) with(word uint64) sum {
	s = (s ^ sum(word)) * 0x100000001b3
	return s ^ s>>32
}

// hostOrder is the number of a __be32.
func hostOrder(v uint32) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, v))
}

// eachEntry calls f with every entry of a map, read many at a time.
func eachEntry[K, V any](m *ebpf.Map, f func(*K, *V)) error {
	size := min(4096, int(m.MaxEntries()))
	keys, values := make([]K, size), make([]V, size)
	var cursor ebpf.MapBatchCursor
	for {
		count, err := m.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read map %s: %w", m, err)
		}
		for i := range count {
			f(&keys[i], &values[i])
		}
		if last {
			return nil
		}
	}
}
