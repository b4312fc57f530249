package apply

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
)

// plannedSpace says what each prefix of the node is for.
func plannedSpace(prefixes []plan.Prefix) map[netip.Prefix]uint32 {
	space := map[netip.Prefix]uint32{}
	for _, p := range prefixes {
		space[p.Prefix] = bpf.PrefixTenant
		if p.Node {
			space[p.Prefix] = bpf.PrefixNode
		}
	}
	return space
}

// compareSpace gives a change for each prefix of networks that differs, in order,
// and one for all of the node's own pieces.
func compareSpace(want, have map[netip.Prefix]uint32) []plan.Change {
	var changes []plan.Change
	added, removed := 0, 0
	note := func(prefix netip.Prefix, kind uint32, action plan.Action, count *int) {
		if kind == bpf.PrefixNode {
			*count++
			return
		}
		changes = append(changes, plan.Change{Object: "prefix " + prefix.String(), Action: action, Detail: "for networks"})
	}
	for prefix, kind := range want {
		if have[prefix] != kind {
			note(prefix, kind, plan.Add, &added)
		}
	}
	for prefix, kind := range have {
		if want[prefix] == 0 {
			note(prefix, kind, plan.Remove, &removed)
		}
	}
	slices.SortFunc(changes, func(a, b plan.Change) int { return cmp.Compare(a.Object, b.Object) })
	if added+removed > 0 {
		changes = append(changes, plan.Change{Object: "prefixes of the node itself", Action: plan.Modify,
			Detail: fmt.Sprintf("%d more, %d less", added, removed)})
	}
	return changes
}

// setPrefixes tells the datapath what is this node's.
func (p *pass) setPrefixes() {
	have, err := readSpace(p.config.Datapath.Maps())
	if p.failIf("prefixes", err) {
		return
	}
	want := plannedSpace(p.want.Prefixes)
	changes := compareSpace(want, have)
	if len(changes) == 0 {
		return
	}
	if p.failIf("prefixes", p.config.Datapath.Maps().PutPrefixes(want)) {
		return
	}
	p.changes = append(p.changes, changes...)
}

func readSpace(m *bpf.Maps) (map[netip.Prefix]uint32, error) {
	space := map[netip.Prefix]uint32{}
	var key bpf.PrefixKey
	var kind uint32
	entries := m.Prefixes.Iterate()
	for entries.Next(&key, &kind) {
		address := netip.AddrFrom16(key.Address.Bytes)
		bits := int(key.Prefixlen)
		if address.Is4In6() && bits >= 96 {
			address, bits = address.Unmap(), bits-96
		}
		space[netip.PrefixFrom(address, bits)] = kind
	}
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read map prefixes: %w", err)
	}
	return space, nil
}
