package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
)

// A VM that changes its addresses, as privacy extensions do (RFC 8981), tells nobody
// that it has dropped one. So those of a VM are asked for now and then, and often once
// it has many.
const (
	releaseTick = time.Second
	manyLearned = apply.Learnable / 2
	// againAfter is between two rounds of which both must find an address silent. An
	// address that is just being claimed, which answers nobody for two seconds, has
	// answered by the second.
	againAfter  = 5 * time.Second
	oftenAfter  = time.Minute
	seldomAfter = 10 * time.Minute
	// mostProbed is how many addresses one round asks for, of whole VMs: the kernel's
	// neighbour table has room for about a thousand.
	mostProbed = 128
)

// claimant is a VM by its numbers.
type claimant struct{ network, workload uint32 }

// claims is what is known of a VM's addresses besides that they are bound.
type claims struct {
	count  int                   // of addresses when they were asked for
	next   time.Time             // when they are to be asked for again
	silent map[plan.Binding]bool // that the last round found silent
}

// releases decides which addresses are gone. It knows no clock and no kernel.
type releases map[claimant]*claims

// due gives the learned addresses to ask for, of every VM whose turn it is.
func (r releases) due(bindings []plan.Binding, now time.Time) []plan.Binding {
	held := map[claimant][]plan.Binding{}
	var order []claimant
	for _, b := range bindings {
		if !b.Learned || b.Remote {
			continue
		}
		vm := claimant{b.NetworkID, b.Workload}
		if held[vm] == nil {
			order = append(order, vm)
		}
		held[vm] = append(held[vm], b)
	}
	for vm := range r {
		if held[vm] == nil {
			delete(r, vm)
		}
	}
	var list []plan.Binding
	for _, vm := range order {
		c := r[vm]
		if c == nil {
			c = &claims{next: now.Add(seldomAfter), silent: map[plan.Binding]bool{}}
			r[vm] = c
		}
		count := len(held[vm])
		grown := count >= manyLearned && count > c.count
		if count < 2 || !grown && now.Before(c.next) || len(list) > 0 && len(list)+count > mostProbed {
			continue
		}
		list = append(list, held[vm]...)
	}
	return list
}

// judge gives the addresses that are gone: found silent twice while another address
// of the same VM answered. A VM that answers for none is paused, not moved: it keeps
// all.
func (r releases) judge(asked []plan.Binding, results []apply.Probed, now time.Time) (gone []plan.Binding) {
	answers, count := map[claimant]bool{}, map[claimant]int{}
	for i, b := range asked {
		vm := claimant{b.NetworkID, b.Workload}
		answers[vm] = answers[vm] || results[i] == apply.ProbeAnswered
		count[vm]++
	}
	silent := map[claimant]map[plan.Binding]bool{}
	for i, b := range asked {
		vm := claimant{b.NetworkID, b.Workload}
		if silent[vm] == nil {
			silent[vm] = map[plan.Binding]bool{}
		}
		switch {
		case results[i] != apply.ProbeFailed || !answers[vm]:
		case r[vm].silent[b]:
			gone = append(gone, b)
			count[vm]--
		default:
			silent[vm][b] = true
		}
	}
	for vm, s := range silent {
		wait := seldomAfter
		switch {
		case len(s) > 0:
			wait = againAfter
		case count[vm] >= manyLearned:
			wait = oftenAfter
		}
		*r[vm] = claims{count: count[vm], next: now.Add(wait), silent: s}
	}
	return gone
}

// releaseUnused gives back the addresses that VMs have dropped, until ctx ends.
func (d *Daemon) releaseUnused(ctx context.Context) error {
	tick := time.NewTicker(releaseTick)
	defer tick.Stop()
	known := releases{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		v := d.current()
		asked := known.due(v.state.Bindings, time.Now())
		if len(asked) == 0 {
			continue
		}
		results, err := apply.Probe(ctx, v.bridges(), asked)
		if err == nil {
			err = d.release(ctx, known.judge(asked, results, time.Now()))
		}
		if err != nil && ctx.Err() == nil {
			d.log.Error("give back addresses that VMs have dropped; it is tried again", "error", err)
			known = releases{}
		}
	}
}

// release takes addresses from VMs: from the registry first, so that no apply binds
// them again, then from the datapath. Until then nothing that is bound there is
// stored.
func (d *Daemon) release(ctx context.Context, gone []plan.Binding) error {
	if len(gone) == 0 {
		return nil
	}
	d.learning.Lock()
	defer d.learning.Unlock()
	v := d.current()
	var stored []registry.Binding
	for _, b := range gone {
		network, workload, found := v.names(b)
		if !found {
			continue
		}
		d.log.Info("released", "network", network, "workload", workload, "address", b.Address)
		stored = append(stored, registry.Binding{Network: network, Workload: workload, Address: b.Address})
	}
	if err := d.store.DeleteBindings(ctx, stored); err != nil {
		return err
	}
	// What else failed to be enforced does not matter here.
	_ = d.enforcer.wait(ctx, d.enforcer.request())
	if ctx.Err() != nil || slices.ContainsFunc(d.current().state.Bindings, func(b plan.Binding) bool { return slices.Contains(gone, b) }) {
		return ctx.Err() // it is found silent again
	}
	return d.applier.Release(gone)
}

// bridges gives the bridge of each network, by its number.
func (v view) bridges() map[uint32]string {
	bridges := map[uint32]string{}
	for _, n := range v.state.Networks {
		bridges[n.ID] = n.Bridge
	}
	return bridges
}

// names gives what the workload of a binding is called.
func (v view) names(b plan.Binding) (network, workload string, found bool) {
	for _, w := range v.state.Workloads {
		if w.NetworkID == b.NetworkID && w.ID == b.Workload {
			return w.Network, w.Name, true
		}
	}
	return "", "", false
}
