package delegation

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

var allocated = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func pfx(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func pfxs(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, pfx(text))
	}
	return list
}

// keeps is what a node has stored: the /64s of its networks, and its blocks by holder.
func keeps(networks map[string]string, blocks map[string]string) registry.Snapshot {
	snap := registry.Snapshot{IPAM: ipam.State{Prefixes: map[netip.Prefix]ipam.Lease{}}}
	for p, network := range networks {
		snap.IPAM.Prefixes[pfx(p)] = ipam.Lease{Network: network, Node: "n1"}
	}
	for _, block := range slices.Sorted(maps.Keys(blocks)) {
		snap.Blocks = append(snap.Blocks, registry.Block{Block: pfx(block), Holder: blocks[block]})
	}
	return snap
}

func heldBy(holder string, prefixes []string, blocks map[string]string) ipam.Holding {
	h := ipam.Holding{Holder: holder, Registrations: map[netip.Prefix]ipam.Registration{}, Blocks: map[netip.Prefix]ipam.Delegation{}}
	for _, p := range prefixes {
		h.Registrations[pfx(p)] = ipam.Registration{Prefix: pfx(p), Holder: holder, Source: fromDocument}
	}
	for block, node := range blocks {
		h.Blocks[pfx(block)] = ipam.Delegation{Node: node}
	}
	return h
}

// TestBringHolding: what a holder's grid holding becomes.
func TestBringHolding(t *testing.T) {
	document := func(prefixes ...string) (list []ipam.Registration) {
		for _, p := range prefixes {
			list = append(list, ipam.Registration{Prefix: pfx(p), Holder: "n1", Source: fromDocument})
		}
		return list
	}
	for _, row := range []struct {
		name       string
		need       held
		have       ipam.Holding
		registered []string
		blocks     map[string]string // to node
		rests      []string
		wrong      string
	}{
		{
			name: "a prefix comes with a first block for its holder", need: held{registrations: document("2001:db8:1::/48")},
			have: heldBy("n1", nil, nil), registered: []string{"2001:db8:1::/48"}, blocks: map[string]string{"2001:db8:1::/56": "n1"},
		},
		{
			name: "blocks of the networks that were there before", need: held{
				registrations: document("2001:db8:1::/48"),
				local:         keeps(map[string]string{"2001:db8:1:101::/64": "a", "2001:db8:1:501::/64": "b", "2001:db8:9::/64": "stranded"}, nil),
			},
			have: heldBy("n1", nil, nil), registered: []string{"2001:db8:1::/48"},
			blocks: map[string]string{"2001:db8:1:100::/56": "n1", "2001:db8:1:500::/56": "n1"},
		},
		{
			name: "others get what they ask for, and keep what they have", need: held{
				registrations: document("2001:db8:1::/48"),
				requests:      map[string]ipam.Request{"n2": {Holder: "n1", Blocks: 2}, "n3": {Holder: "n9", Blocks: 1}},
			},
			have:       heldBy("n1", []string{"2001:db8:1::/48"}, map[string]string{"2001:db8:1:100::/56": "n2", "2001:db8:1::/56": "n1"}),
			registered: []string{"2001:db8:1::/48"},
			blocks:     map[string]string{"2001:db8:1::/56": "n1", "2001:db8:1:100::/56": "n2", "2001:db8:1:200::/56": "n2"},
		},
		{
			name: "whoever has enough of another holder takes none", need: held{registrations: document("2001:db8:1::/48"), local: keeps(nil, map[string]string{"2001:db8:7::/56": "n7"})},
			have:       heldBy("n1", []string{"2001:db8:1::/48"}, nil),
			registered: []string{"2001:db8:1::/48"},
		},
		{
			name: "depleted, it says who has what",
			need: held{registrations: document("2001:db8:1::/56"), requests: map[string]ipam.Request{"n2": {Holder: "n1", Blocks: 1}}},
			have: heldBy("n1", nil, nil), registered: []string{"2001:db8:1::/56"}, blocks: map[string]string{"2001:db8:1::/56": "n1"},
			wrong: `"n2", which is to have 1, from 2001:db8:1::/56 of node n1: none is free: n1 has 1 block, 100.0 %`,
		},
		{
			name: "gone from node.yaml and used by nobody", need: held{},
			have: heldBy("n1", []string{"2001:db8:1::/48"}, map[string]string{"2001:db8:1::/56": "n1"}), rests: []string{"2001:db8:1::/56"},
		},
		{
			name: "gone from node.yaml, but another node has a block", need: held{},
			have:       heldBy("n1", []string{"2001:db8:1::/48"}, map[string]string{"2001:db8:1::/56": "n2"}),
			registered: []string{"2001:db8:1::/48"}, blocks: map[string]string{"2001:db8:1::/56": "n2"},
			wrong: "still used: 2001:db8:1::/56 by n2",
		},
		{
			name: "a prefix takes another's place, in which a network still is", need: held{
				registrations: document("2001:db8:2::/48"), local: keeps(map[string]string{"2001:db8:1:1::/64": "a"}, nil),
			},
			have:       heldBy("n1", []string{"2001:db8:1::/48"}, map[string]string{"2001:db8:1::/56": "n1"}),
			registered: []string{"2001:db8:1::/48", "2001:db8:2::/48"},
			blocks:     map[string]string{"2001:db8:1::/56": "n1", "2001:db8:2::/56": "n1"},
			wrong:      "still used: 2001:db8:1::/56 by n1",
		},
		{
			name: "what another node holds", need: held{
				registrations: document("2001:db8:1::/48"),
				others: func() ([]ipam.Holding, error) {
					return []ipam.Holding{heldBy("n2", []string{"2001:db8::/32"}, nil)}, nil
				},
			},
			have: heldBy("n1", nil, nil), wrong: "overlaps 2001:db8::/32, which node n2 holds",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.need.node = "n1"
			got, err := row.need.bring(row.have, allocated)
			if row.wrong == "" && err != nil || err == nil && row.wrong != "" || err != nil && !strings.Contains(err.Error(), row.wrong) {
				t.Errorf("error %v, want %q", err, row.wrong)
			}
			if !slices.Equal(got.Prefixes(), pfxs(row.registered...)) {
				t.Errorf("registered %v, want %v", got.Prefixes(), row.registered)
			}
			blocks, rests := map[string]string{}, []string(nil)
			for p, d := range got.Blocks {
				if d.Owned() {
					blocks[p.String()] = d.Node
				} else {
					rests = append(rests, p.String())
				}
			}
			if !maps.Equal(blocks, row.blocks) || !slices.Equal(rests, row.rests) {
				t.Errorf("blocks %v, resting %v; want %v, %v", blocks, rests, row.blocks, row.rests)
			}
			again, _ := row.need.bring(got, allocated.Add(time.Minute))
			if !sameHolding(got, again) {
				t.Errorf("done again it changes: %v, was %v", again, got)
			}
		})
	}
}

// TestBlocksAfter: which blocks a node has, as the holders that it hears say.
func TestBlocksAfter(t *testing.T) {
	hearing := func(r ipam.Request, holdings ...ipam.Holding) gridstore.Snapshot {
		snap := gridstore.Snapshot{Nodes: map[string]*gridstore.Node{"n1": {Name: "n1", Request: &r}}}
		for _, h := range holdings {
			snap.Nodes[h.Holder] = &gridstore.Node{Name: h.Holder, Holding: h}
		}
		return snap
	}
	gives := func(blocks map[string]string) ipam.Holding { return heldBy("gw1", []string{"2001:db8:1::/48"}, blocks) }
	for _, row := range []struct {
		name string
		have map[string]string
		snap gridstore.Snapshot
		own  ipam.Holding
		want map[string]string
	}{
		{"one is given", nil, hearing(ipam.Request{Holder: "gw1"}, gives(map[string]string{"2001:db8:1:100::/56": "n1", "2001:db8:1:200::/56": "n2"})), ipam.Holding{}, map[string]string{"2001:db8:1:100::/56": "gw1"}},
		{"one is taken back", map[string]string{"2001:db8:1:100::/56": "gw1"}, hearing(ipam.Request{Holder: "gw1"}, gives(nil)), ipam.Holding{}, nil},
		{"of a holder whom one asked before", map[string]string{"2001:db8:1:100::/56": "gw1"}, hearing(ipam.Request{Holder: "gw2", Others: []string{"gw1"}}, gives(nil)), ipam.Holding{}, nil},
		{"of a holder who is not heard", map[string]string{"2001:db8:1:100::/56": "gw1"}, hearing(ipam.Request{Holder: "gw2"}), ipam.Holding{}, map[string]string{"2001:db8:1:100::/56": "gw1"}},
		{"a stranger's is not his to give", nil, hearing(ipam.Request{Holder: "gw1"}, gives(map[string]string{"2001:db8:2::/56": "n1"})), ipam.Holding{}, nil},
		{"its own", nil, gridstore.Snapshot{}, heldBy("n1", []string{"2001:db8:3::/48"}, map[string]string{"2001:db8:3::/56": "n1", "2001:db8:3:100::/56": "n2"}), map[string]string{"2001:db8:3::/56": "n1"}},
	} {
		want := keeps(nil, row.want).Blocks
		if got := blocksAfter("n1", keeps(nil, row.have).Blocks, row.snap, row.own, true); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", row.name, got, want)
		}
	}
}

// TestChooseHolder: whom a node asks for a block.
func TestChooseHolder(t *testing.T) {
	full := heldBy("gw1", []string{"2001:db8:1::/56"}, map[string]string{"2001:db8:1::/56": "n2"})
	small, large := heldBy("gw2", []string{"2001:db8:2::/52"}, nil), heldBy("gw3", []string{"2001:db8:3::/48"}, nil)
	for _, row := range []struct {
		name     string
		holdings []ipam.Holding
		exit     string
		want     string
		wrong    string
	}{
		{"whoever has most", []ipam.Holding{full, small, large}, "", "gw3", ""},
		{"the exit", []ipam.Holding{full, small, large}, "gw2", "gw2", ""},
		{"the exit has none left", []ipam.Holding{full, small}, "gw1", "gw2", ""},
		{"nobody has any left", []ipam.Holding{full}, "", "", "n2 has 1 block, 100.0 %"},
		{"nobody holds any", nil, "", "", "no node of the grid holds a prefix"},
	} {
		holdings := map[string]ipam.Holding{}
		for _, h := range row.holdings {
			holdings[h.Holder] = h
		}
		got, err := chooseHolder(holdings, "n1", row.exit, allocated)
		if got != row.want || (err != nil) != (row.wrong != "") || err != nil && !strings.Contains(err.Error(), row.wrong) {
			t.Errorf("%s: %q %v, want %q %q", row.name, got, err, row.want, row.wrong)
		}
	}
	var depleted *ipam.DepletedError
	if _, err := chooseHolder(map[string]ipam.Holding{"gw1": full}, "n1", "", allocated); !errors.As(err, &depleted) {
		t.Errorf("a depleted grid: %v", err)
	}
}

// TestNodeSpace: what a node gives /64s from, what is its own space, and what is routed
// to whom.
func TestNodeSpace(t *testing.T) {
	node := &spec.Node{Name: "n1", Prefixes: pfxs("2001:db8:1::/48")}
	local := keeps(nil, map[string]string{"2001:db8:1::/56": "n1", "2001:db8:7:300::/56": "gw7"})
	local.Registrations = []ipam.Registration{{Prefix: pfx("2001:db8:2::/56")}}
	given := map[netip.Prefix]ipam.Delegation{
		pfx("2001:db8:1::/56"): {Node: "n1"}, pfx("2001:db8:1:8000::/49"): {Node: "n2"}, pfx("2001:db8:2::/56"): {Node: "n3"},
		pfx("2001:db8:1:100::/56"): {Node: "n4", Until: allocated},
	}
	if got := giving(node, local, false).Prefixes; !slices.Equal(got, pfxs("2001:db8:1::/48", "2001:db8:2::/56")) {
		t.Errorf("alone it gives from %v", got)
	}
	if got := giving(node, local, true).Prefixes; !slices.Equal(got, pfxs("2001:db8:1::/56", "2001:db8:7:300::/56")) {
		t.Errorf("in a grid it gives from %v", got)
	}
	retired := &spec.Node{Name: "n1"}
	if got := giving(retired, local, true).Prefixes; !slices.Equal(got, pfxs("2001:db8:7:300::/56")) {
		t.Errorf("when it holds a prefix no more it gives from %v", got)
	}
	if got := whole(node, local, given).Prefixes; !slices.Equal(got, pfxs("2001:db8:1::/49", "2001:db8:1::/56", "2001:db8:7:300::/56")) {
		t.Errorf("its space is %v", got)
	}
	want := map[netip.Prefix]string{
		pfx("2001:db8:1::/48"): "n1", pfx("2001:db8:1:8000::/49"): "n2", pfx("2001:db8:2::/56"): "n3", pfx("2001:db8:7:300::/56"): "n1",
	}
	if got := routed(node, local, given); !maps.Equal(got, want) {
		t.Errorf("routed are %v, want %v", got, want)
	}
}

// TestRemovedNode: the blocks of a node that was taken out rest; those of one that is
// only not there, or that came again, stay its own.
func TestRemovedNode(t *testing.T) {
	const block = "2001:db8:aaaa:100::/56"
	for name, row := range map[string]struct {
		nodes map[string]*gridstore.Node
		rests bool
	}{
		"taken out":     {map[string]*gridstore.Node{"n2": {Removed: allocated}}, true},
		"not heard":     {nil, false},
		"not live":      {map[string]*gridstore.Node{"n2": {Admitted: &gridstore.Admission{}}}, false},
		"another one":   {map[string]*gridstore.Node{"n3": {Removed: allocated}}, false},
		"let in again":  {map[string]*gridstore.Node{"n2": {Removed: allocated, Admitted: &gridstore.Admission{}}}, false},
		"no place, yet": {map[string]*gridstore.Node{"n2": {}}, false},
	} {
		need := held{
			node: "n1", registrations: []ipam.Registration{{Prefix: pfx("2001:db8:aaaa::/48"), Holder: "n1", Source: fromDocument}},
			removed: removedOf(gridstore.Snapshot{Nodes: row.nodes}),
		}
		h := heldBy("n1", []string{"2001:db8:aaaa::/48"}, map[string]string{block: "n2", "2001:db8:aaaa::/56": "n1"})
		next, err := need.bring(h, allocated)
		if err != nil {
			t.Fatal(err)
		}
		d := next.Blocks[pfx(block)]
		if d.Node != "n2" || d.Owned() == row.rests || row.rests && d.Until.Before(allocated.Add(ipam.Rest)) {
			t.Errorf("%s: the block is %+v", name, d)
		}
		if again, err := need.bring(next, allocated.Add(time.Minute)); err != nil || again.Blocks[pfx(block)] != d {
			t.Errorf("%s: a minute later it is %+v, %v", name, again.Blocks[pfx(block)], err)
		}
	}
}
