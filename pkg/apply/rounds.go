package apply

import "time"

const (
	// lookTime is how long a comparison may take for what lies in the workloads'
	// namespaces, and for the overlays' devices. Each has to be entered or asked, and
	// nothing tells of changes there, so those that it does not get to have their turn
	// in the next one.
	lookTime = 20 * time.Millisecond
	// fewestLooks is how many of each it looks into on the slowest machine.
	fewestLooks = 16
)

// due tells which of n objects a pass looks into, whatever was made of them: all, those
// that have their turn, or none.
func (p *pass) due(r *rounds, n int) func(i int) bool {
	switch {
	case !p.turns:
		return func(int) bool { return true }
	case p.slow:
		return r.due(n)
	}
	return func(int) bool { return false }
}

// rounds gives each workload, or each device, its turn.
type rounds struct {
	next int           // index of the first one that has not had it
	cost time.Duration // of looking into one, as it was lately; 0: not known
}

// due tells which of n workloads a comparison looks into, by their index.
func (r *rounds) due(n int) func(i int) bool {
	count := n
	if r.cost > 0 {
		count = min(n, max(fewestLooks, int(lookTime/r.cost)))
	}
	if count == n {
		r.next = 0
		return func(int) bool { return true }
	}
	first := r.next % n
	r.next = (first + count) % n
	return func(i int) bool { return (i-first+n)%n < count }
}

// took notes what looking into one has cost.
func (r *rounds) took(d time.Duration) {
	if r.cost == 0 {
		r.cost = d
	}
	r.cost = (7*r.cost + d) / 8
}
