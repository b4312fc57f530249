package daemon

import (
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// goneAfter is for how long a node has not been live when it counts as gone, if this
// one has no session with it either: longer than a session lives, so that silence tells
// something, and than a machine takes to start anew. Who has only lost the registry, and
// says nothing, must call then: it is not called any more.
const goneAfter = 5 * time.Minute

// silentAfter is for how long a node has not been live when its workloads are not given
// for their services any more: longer than a daemon takes to start anew.
const silentAfter = 30 * time.Second

// markGone marks the nodes that are not heard, and those that are gone: where they were, somebody else may be, so
// they are not called there any more. It goes by what the registry has confirmed: while
// that is away nobody goes, and who has only lost the registry still has sessions.
func markGone(in *plan.Input, snap gridstore.Snapshot) {
	heard, answering := map[[32]byte]bool{}, map[[32]byte]bool{}
	for _, s := range in.Sessions {
		heard[s.PublicKey] = heard[s.PublicKey] || s.Established
		answering[s.PublicKey] = answering[s.PublicKey] || s.Established && !s.Lost
	}
	speaks, answers := map[string]bool{}, map[string]bool{}
	for _, p := range in.Parts {
		speaks[p.Node] = speaks[p.Node] || heard[p.PublicKey] || p.Next != nil && heard[p.Next.PublicKey]
		answers[p.Node] = answers[p.Node] || answering[p.PublicKey] || p.Next != nil && answering[p.Next.PublicKey]
	}
	for i := range in.Nodes {
		n := snap.Nodes[in.Nodes[i].Name]
		left := n != nil && !n.Live && !n.Left.IsZero()
		in.Nodes[i].Silent = left && snap.Confirmed.Sub(n.Left) >= silentAfter && !answers[in.Nodes[i].Name]
		in.Nodes[i].Gone = left && snap.Confirmed.Sub(n.Left) >= goneAfter && !speaks[in.Nodes[i].Name]
	}
}

// observes tells whether the sessions of now, or who is gone now, make another plan
// than those of a view: a peer's being heard or not, where keys are changed its
// answers.
func (v view) observes(now []plan.Session, snap gridstore.Snapshot) bool {
	rotating := map[string]bool{}
	for _, o := range v.state.Overlays {
		if o.Heir != "" {
			rotating[o.Interface], rotating[o.Heir] = true, true
		}
	}
	type peer struct {
		device string
		key    [32]byte
	}
	then := map[peer]plan.Session{}
	for _, s := range v.input.Sessions {
		then[peer{s.Interface, s.PublicKey}] = s
	}
	for _, s := range now {
		was := then[peer{s.Interface, s.PublicKey}]
		if s.Lost != was.Lost || rotating[s.Interface] && s.Established != was.Established {
			return true
		}
	}
	in := plan.Input{Sessions: now, Parts: v.input.Parts, Nodes: make([]plan.Node, len(v.input.Nodes))}
	copy(in.Nodes, v.input.Nodes)
	markGone(&in, snap)
	for i, n := range in.Nodes {
		if was := v.input.Nodes[i]; n.Gone != was.Gone || n.Silent != was.Silent {
			return true
		}
	}
	return false
}

// unheard gives for each network the nodes that this one does not hear, and therefore
// reaches through the exit, by name.
func (v view) unheard() map[string][]string {
	lost := map[plan.Session]bool{}
	for _, s := range v.input.Sessions {
		lost[plan.Session{Interface: s.Interface, PublicKey: s.PublicKey}] = s.Lost
	}
	list := map[string][]string{}
	for _, o := range v.overlays {
		for _, p := range o.Peers {
			if len(p.AllowedIPs) == 0 && lost[plan.Session{Interface: o.Interface, PublicKey: p.PublicKey}] && !slices.Contains(list[o.Network], p.Node) {
				list[o.Network] = append(list[o.Network], p.Node)
			}
		}
	}
	return list
}
