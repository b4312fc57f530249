package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/plan"
)

const (
	answered = apply.ProbeAnswered
	failed   = apply.ProbeFailed
	unclear  = apply.ProbeUnclear
)

// learnedOf gives a VM's addresses, the first of them ending in ::first.
func learnedOf(workload uint32, first, count int) (list []plan.Binding) {
	for i := range count {
		a := [16]byte{0x20, 1, 0xd, 0xb8, 14: byte(workload), 15: byte(first + i)}
		list = append(list, plan.Binding{NetworkID: 1, Workload: workload, Address: netip.AddrFrom16(a), Tap: true, Learned: true})
	}
	return list
}

// TestReleases: rounds of probing one VM with three addresses, and which of them are
// given back.
func TestReleases(t *testing.T) {
	type round struct {
		results []apply.Probed
		gone    []int
	}
	for _, row := range []struct {
		name   string
		rounds []round
	}{
		{"all answer", []round{{[]apply.Probed{answered, answered, answered}, nil}, {[]apply.Probed{answered, answered, answered}, nil}}},
		{"one is silent once", []round{{[]apply.Probed{answered, failed, answered}, nil}, {[]apply.Probed{answered, answered, answered}, nil}}},
		{"one is silent twice", []round{{[]apply.Probed{answered, failed, answered}, nil}, {[]apply.Probed{answered, failed, answered}, []int{1}}}},
		{"silent twice, with an answer between", []round{
			{[]apply.Probed{answered, failed, answered}, nil}, {[]apply.Probed{answered, answered, answered}, nil},
			{[]apply.Probed{answered, failed, answered}, nil}}},
		{"two one after the other", []round{
			{[]apply.Probed{answered, failed, answered}, nil}, {[]apply.Probed{answered, failed, failed}, []int{1}}}},
		{"the VM is paused", []round{{[]apply.Probed{failed, failed, failed}, nil}, {[]apply.Probed{failed, failed, failed}, nil}}},
		{"it is paused between", []round{
			{[]apply.Probed{answered, failed, answered}, nil}, {[]apply.Probed{failed, failed, failed}, nil},
			{[]apply.Probed{answered, failed, answered}, nil}}},
		{"nothing is clear", []round{{[]apply.Probed{answered, unclear, failed}, nil}, {[]apply.Probed{unclear, unclear, failed}, nil}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, now, bound := releases{}, time.Unix(1e9, 0), learnedOf(7, 1, 3)
			for i, round := range row.rounds {
				now = now.Add(seldomAfter)
				if i == 0 {
					r.due(bound, now) // it is new
					now = now.Add(seldomAfter)
				}
				asked := r.due(bound, now)
				if !slices.Equal(asked, bound) {
					t.Fatalf("round %d asks for %v", i+1, asked)
				}
				var want []plan.Binding
				for _, k := range round.gone {
					want = append(want, bound[k])
				}
				if gone := r.judge(asked, round.results, now); !slices.Equal(gone, want) {
					t.Errorf("round %d gives back %v, want %v", i+1, gone, want)
				}
			}
		})
	}
}

// TestReleaseTimes: when a VM's addresses are asked for.
func TestReleaseTimes(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := releases{}
	all := func(results apply.Probed, list []plan.Binding) []apply.Probed {
		return slices.Repeat([]apply.Probed{results}, len(list))
	}
	asks := func(name string, bound []plan.Binding, at time.Time, want int) []plan.Binding {
		t.Helper()
		asked := r.due(bound, at)
		if len(asked) != want {
			t.Errorf("%s: asks for %d, want %d", name, len(asked), want)
		}
		return asked
	}
	few, many := learnedOf(7, 1, 3), learnedOf(7, 1, manyLearned)
	asks("a new VM", few, now, 0)
	asks("soon after", few, now.Add(seldomAfter-time.Second), 0)
	asks("at its time", few, now.Add(seldomAfter), 3)
	asked := asks("many", many, now, manyLearned)
	results := all(answered, asked)
	results[0] = failed
	r.judge(asked, results, now)
	asks("one was silent, at once", many, now.Add(time.Second), 0)
	asked = asks("and a little later", many, now.Add(againAfter), manyLearned)
	r.judge(asked, all(answered, asked), now)
	asks("all answer, soon after", many, now.Add(oftenAfter-time.Second), 0)
	asks("and a minute later", many, now.Add(oftenAfter), manyLearned)
	asks("one more", learnedOf(7, 1, manyLearned+1), now, manyLearned+1)
	asks("the only one", learnedOf(8, 1, 1), now.Add(time.Hour), 0)
	planned := []plan.Binding{{NetworkID: 1, Workload: 9, Address: netip.MustParseAddr("2001:db8::1")}}
	asks("a namespace's", slices.Concat(planned, planned), now.Add(time.Hour), 0)
	if len(r) != 0 {
		t.Errorf("VMs that are gone are remembered: %v", r)
	}
	var crowd []plan.Binding
	for vm := range uint32(100) {
		crowd = append(crowd, learnedOf(vm, 1, manyLearned)...)
	}
	if asked := r.due(crowd, now); len(asked) > mostProbed || len(asked) <= mostProbed-manyLearned {
		t.Errorf("one round asks for %d addresses, want up to %d", len(asked), mostProbed)
	}
}
