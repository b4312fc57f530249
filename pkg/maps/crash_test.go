package maps

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// upgrade is a change from the earlier layout, with the programs of then: they write
// the maps that they were loaded onto until they are replaced.
type upgrade struct {
	dir      string
	old      *Maps
	replaced bool
	put      int
}

func startUpgrade(t *testing.T) *upgrade {
	t.Helper()
	u := &upgrade{dir: bpffs(t)}
	var err error
	u.old, err = OpenSpecs(u.dir, earlier(t))
	must(t, err)
	t.Cleanup(func() { _ = u.old.Close() })
	return u
}

// packets are those of a new flow that is allowed, and of one that is denied: by the
// old programs, or by those of m.
func (u *upgrade) packets(t *testing.T, m *Maps) {
	t.Helper()
	for denied := range uint8(2) {
		u.put++
		f := Flow{LastSeen: uint64(u.put), Owner: 3, Denied: denied}
		if !u.replaced {
			putEarlierFlow(t, u.old.Flows, flowKey(uint16(u.put)), f)
			continue
		}
		key := flowKey(uint16(u.put))
		must(t, m.Flows.Put(&key, &f))
	}
}

// assertKept checks that a build's maps hold every flow that there was.
func (u *upgrade) assertKept(t *testing.T, m *Maps) {
	t.Helper()
	for i := 1; i <= u.put; i++ {
		assertFlow(t, m, flowKey(uint16(i)), Flow{LastSeen: uint64(i), Owner: 3, Denied: uint8((i - 1) % 2)})
	}
}

// run runs so many steps of a Commit and then ends like a process that is killed. It
// tells whether there were more.
func (u *upgrade) run(t *testing.T, m *Maps, count int) bool {
	t.Helper()
	steps := m.steps(func() error {
		u.packets(t, m)
		u.replaced = true
		u.packets(t, m)
		return nil
	})
	for _, step := range steps[:min(count, len(steps))] {
		u.packets(t, m)
		must(t, step())
	}
	u.packets(t, m)
	must(t, m.Close())
	return count < len(steps)
}

// finish opens the maps as the next daemon does, and ends the change.
func (u *upgrade) finish(t *testing.T) {
	t.Helper()
	m := openMaps(t, u.dir)
	u.packets(t, m)
	must(t, m.Commit(func() error { u.replaced = true; return nil }))
	u.assertKept(t, m)
	assertOnlyMaps(t, m)
	again := openMaps(t, u.dir)
	if changed := again.Changed(); len(changed) != 0 {
		t.Errorf("still to change: %v", changed)
	}
}

// Whatever step a change of layout ends at, the next daemon finds every flow, and
// those that were denied are.
func TestSwitchEndsAtEachStep(t *testing.T) {
	for count, more := 0, true; more; count++ {
		t.Run(fmt.Sprintf("after %d steps", count), func(t *testing.T) {
			u := startUpgrade(t)
			u.packets(t, nil)
			more = u.run(t, openMaps(t, u.dir), count)
			if t.Failed() {
				more = false
			}
			u.finish(t)
		})
	}
}

// another gives the built-in maps as a third build has them.
func another(t *testing.T) map[string]*ebpf.MapSpec {
	t.Helper()
	specs := earlier(t)
	specs["flows"].MaxEntries /= 4
	specs["host_flows"].MaxEntries /= 2
	return specs
}

// A build of a third layout takes its turn in between, also only half of it: its
// maps are told from ours, and what its programs wrote is kept as well.
func TestSwitchWithAThirdLayout(t *testing.T) {
	for count, more := 0, true; more; count++ {
		t.Run(fmt.Sprintf("after %d steps of it", count), func(t *testing.T) {
			u := startUpgrade(t)
			u.packets(t, nil)
			third, err := OpenSpecs(u.dir, another(t))
			must(t, err)
			held := third.Flows
			steps := third.steps(func() error { u.replaced = true; return nil })
			more = count < len(steps)
			for _, step := range steps[:count] {
				u.packetsBy(t, held)
				must(t, step())
			}
			u.packetsBy(t, held)
			u.finishBy(t, held)
			must(t, third.Close())
		})
		if t.Failed() {
			return
		}
	}
}

// packetsBy is packets, but new programs are those of a map of the earlier form.
func (u *upgrade) packetsBy(t *testing.T, flows *ebpf.Map) {
	t.Helper()
	if !u.replaced {
		flows = u.old.Flows
	}
	for denied := range uint8(2) {
		u.put++
		putEarlierFlow(t, flows, flowKey(uint16(u.put)), Flow{LastSeen: uint64(u.put), Owner: 3, Denied: denied})
	}
}

func (u *upgrade) finishBy(t *testing.T, flows *ebpf.Map) {
	t.Helper()
	m := openMaps(t, u.dir)
	u.packetsBy(t, flows)
	must(t, m.Commit(func() error { u.packetsBy(t, flows); return nil }))
	u.assertKept(t, m)
	assertOnlyMaps(t, m)
}

// What waits to take over is named by its layout: this one's is taken up again, and
// another's goes, as does what builds before versions left.
func TestStagedMapsAreToldApart(t *testing.T) {
	u := startUpgrade(t)
	third, err := OpenSpecs(u.dir, another(t))
	must(t, err)
	must(t, third.Close())
	if staged := stagedFlows(t, u.dir); len(staged) != 1 {
		t.Fatalf("waiting: %v", staged)
	}
	legacy, err := u.old.Drops.Clone()
	must(t, err)
	must(t, legacy.Pin(filepath.Join(u.dir, "drops_new")))
	must(t, legacy.Close())

	first := openMaps(t, u.dir)
	id, staged := mapID(t, first.Flows), stagedFlows(t, u.dir)
	want := []string{filepath.Base(first.stagedPath("flows", layoutOfSpec(builtIn(t)["flows"])))}
	if !slices.Equal(staged, want) {
		t.Errorf("waiting: %v, wanted %v", staged, want)
	}
	if _, err := os.Stat(filepath.Join(u.dir, "drops_new")); err == nil {
		t.Error("what an earlier build left is still there")
	}
	must(t, first.Close())
	second := openMaps(t, u.dir)
	if mapID(t, second.Flows) != id {
		t.Error("the map that was begun was not taken up again")
	}
	must(t, second.Close())
	same, err := OpenSpecs(u.dir, earlier(t))
	must(t, err)
	if changed, staged := same.Changed(), stagedFlows(t, u.dir); len(changed) != 0 || len(staged) != 0 {
		t.Errorf("back at the layout in force: to change %v, waiting %v", changed, staged)
	}
	must(t, same.Close())
}

func builtIn(t *testing.T) map[string]*ebpf.MapSpec {
	t.Helper()
	specs, err := Specs()
	must(t, err)
	return specs
}

func stagedFlows(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if parts := stagedPin.FindStringSubmatch(e.Name()); parts != nil && parts[1] == "flows" {
			names = append(names, e.Name())
		}
	}
	return names
}

// Maps that name entries of each other change together: else rules that are written
// while the change is under way would be missing from the maps of running programs.
func TestRulesChangeTheirLayoutTogether(t *testing.T) {
	dir := bpffs(t)
	specs := builtIn(t)
	specs["policy_cidrs"].MaxEntries /= 2
	old, err := OpenSpecs(dir, specs)
	must(t, err)
	t.Cleanup(func() { _ = old.Close() })
	must(t, old.PutPolicy(3, 5, program(80)))
	must(t, old.PutNetwork(3, Network{Policy: 5, Generation: 9}))
	m := openMaps(t, dir)
	got := slices.Sorted(maps.Keys(m.Changed()))
	if want := []string{"networks", "policy_cidrs", "policy_ports", "policy_vectors"}; !slices.Equal(got, want) {
		t.Errorf("changed: %v, wanted %v", got, want)
	}
	must(t, m.PutPolicy(3, 6, program(81)))
	must(t, m.PutNetwork(3, Network{Policy: 6, Generation: 10}))
	must(t, m.DeletePolicy(3, 6))
	n, err := old.Network(3)
	must(t, err)
	if n.Policy != 5 {
		t.Errorf("running programs are sent to policy %d", n.Policy)
	}
	entries := 0
	must(t, eachKey(old.PolicyPorts, func(key PolicyPortKey) {
		if networkOrder(key.Policy) == 5 {
			entries++
		}
	}))
	if entries == 0 {
		t.Error("running programs miss the policy in force")
	}
	must(t, m.Commit(func() error { return nil }))
	if n, err = m.Network(3); err != nil || n.Policy != 6 {
		t.Errorf("after Commit: policy %d %v", n.Policy, err)
	}
}
