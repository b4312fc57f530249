package plan

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/policy"
)

// Change is one difference between two states, in words for people.
type Change struct {
	Object string `json:"object" yaml:"object"` // such as "network acme" or "workload acme/web-1"
	Action Action `json:"action" yaml:"action"`
	Detail string `json:"detail" yaml:"detail"`
}

// Action says what happens to the object of a Change.
type Action string

// What can happen to an object.
const (
	Add    Action = "add"
	Remove Action = "remove"
	Modify Action = "change"
)

// String gives "add network acme: …".
func (c Change) String() string {
	if c.Detail == "" {
		return string(c.Action) + " " + c.Object
	}
	return fmt.Sprintf("%s %s: %s", c.Action, c.Object, c.Detail)
}

// Diff gives what it takes to come from one state to the other. Where in its file
// a rule stands makes no difference. A workload stands for its planned addresses;
// only learned ones are listed, and those on other nodes. A network's resolver comes
// and goes with its workloads and is not listed.
func Diff(from, to State) []Change {
	d := &diff{}
	d.field("uplinks", list(from.Uplinks), list(to.Uplinks))
	d.field("lockdown", allowText(from.Lockdown), allowText(to.Lockdown))
	d.field("lockdown trial", trialText(from.Trial), trialText(to.Trial))
	compare(d, from.Prefixes, to.Prefixes, Prefix.object, Prefix.fields)
	d.networks(from, to)
	compare(d, learnedOf(from), learnedOf(to), Binding.object, Binding.fields)
	return d.changes
}

// DiffElsewhere is Diff for states that were computed about another node: without what
// only that node knows, such as its uplinks, its numbers and its MTU, and without
// addresses.
func DiffElsewhere(from, to State) []Change {
	d := &diff{hidden: []string{"id", "mtu", "flow sets", "at", "mac", "interface", "router advertisements"}}
	d.networks(from, to)
	return d.changes
}

// networks compares what networks have.
func (d *diff) networks(from, to State) {
	compare(d, from.Networks, to.Networks, Network.object, Network.fields)
	d.rules(from.Networks, to.Networks)
	compare(d, attached(from), attached(to), Workload.object, Workload.fields)
	compare(d, from.Overlays, to.Overlays, Overlay.object, Overlay.fields)
	d.peers(from.Overlays, to.Overlays)
	compare(d, from.Entrances, to.Entrances, Entrance.object, Entrance.fields)
	compare(d, from.Devices, to.Devices, Device.object, Device.fields)
}

type diff struct {
	changes []Change
	hidden  []string // fields that are not compared
}

// shown gives the fields that are compared.
func (d *diff) shown(fields []field) []field {
	return slices.DeleteFunc(fields, func(f field) bool { return slices.Contains(d.hidden, f.name) })
}

func (d *diff) add(object string, action Action, detail string) {
	d.changes = append(d.changes, Change{Object: object, Action: action, Detail: detail})
}

// field compares something that is always there.
func (d *diff) field(object, from, to string) {
	if from != to {
		d.add(object, Modify, from+" → "+to)
	}
}

// field is one property of an object, as text.
type field struct{ name, value string }

// compare finds the objects of one kind that came, went or changed.
func compare[T any](d *diff, from, to []T, object func(T) string, fields func(T) []field) {
	old := make(map[string]T, len(from))
	for _, t := range from {
		old[object(t)] = t
	}
	kept := map[string]bool{}
	for _, t := range to {
		name := object(t)
		before, known := old[name]
		kept[name] = true
		if !known {
			d.add(name, Add, describe(d.shown(fields(t))))
		} else if detail := changed(d.shown(fields(before)), d.shown(fields(t))); detail != "" {
			d.add(name, Modify, detail)
		}
	}
	for _, t := range from {
		if name := object(t); !kept[name] {
			d.add(name, Remove, describe(d.shown(fields(t))))
		}
	}
}

func describe(fields []field) string {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.name + " " + f.value
	}
	return strings.Join(texts, ", ")
}

func changed(from, to []field) string {
	var texts []string
	for i, f := range to {
		if from[i] != f {
			texts = append(texts, fmt.Sprintf("%s %s → %s", f.name, from[i].value, f.value))
		}
	}
	return strings.Join(texts, ", ")
}

// peers compares the overlays that are in both states by their peers.
func (d *diff) peers(from, to []Overlay) {
	old := map[string]Overlay{}
	for _, o := range from {
		old[o.object()] = o
	}
	for _, o := range to {
		if before, known := old[o.object()]; known {
			object := func(p Peer) string { return o.object() + " peer " + p.Node }
			compare(d, before.Peers, o.Peers, object, Peer.fields)
		}
	}
}

// rules compares the networks that are in both states by their rules.
func (d *diff) rules(from, to []Network) {
	old := map[string]Network{}
	for _, n := range from {
		old[n.Name] = n
	}
	for _, n := range to {
		if before, known := old[n.Name]; known {
			d.program(n.object(), before.Policy, n.Policy)
		}
	}
}

// program compares two policies entry by entry.
func (d *diff) program(object string, from, to policy.Program) {
	type line struct {
		kind       policy.EntryKind
		side       policy.Side
		text       string
		allow, log bool
	}
	lineOf := func(e policy.Entry) line { return line{e.Kind, e.Side, e.Text, e.Allow, e.Log} }
	count := func(entries []policy.Entry) map[line]int {
		counts := map[line]int{}
		for _, e := range entries {
			counts[lineOf(e)]++
		}
		return counts
	}
	// The lines that both have, as often as both have them, in each one's order.
	split := func(entries []policy.Entry, other map[line]int, alone func(policy.Entry)) (common []line) {
		other = maps.Clone(other)
		for _, e := range entries {
			if l := lineOf(e); other[l] > 0 {
				other[l]--
				common = append(common, l)
			} else {
				alone(e)
			}
		}
		return common
	}
	before := len(d.changes)
	kept := split(from.Entries, count(to.Entries), func(e policy.Entry) { d.add(object+" "+e.Key(), Remove, e.Text) })
	stays := split(to.Entries, count(from.Entries), func(e policy.Entry) { d.add(object+" "+e.Key(), Add, e.Text) })
	switch {
	case !slices.Equal(kept, stays):
		d.add(object+" rules", Modify, "in another order")
	case before == len(d.changes) && !sameMeaning(from, to):
		d.add(object+" rules", Modify, "the same lines, for other services")
	}
}

// sameMeaning compares programs without where their entries stand.
func sameMeaning(a, b policy.Program) bool {
	a.Entries, b.Entries = nil, nil
	return reflect.DeepEqual(a, b)
}

// attached gives the workloads that somebody attached.
func attached(s State) []Workload {
	return slices.DeleteFunc(slices.Clone(s.Workloads), Workload.IsResolver)
}

// learnedOf gives the addresses that VMs took for themselves, and those of
// workloads on other nodes.
func learnedOf(s State) []Binding {
	return slices.DeleteFunc(slices.Clone(s.Bindings), func(b Binding) bool { return !b.Learned && !b.Remote || b.Device })
}

func list(texts []string) string { return cmp.Or(strings.Join(texts, ", "), "(none)") }
