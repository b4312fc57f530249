package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
)

// follow makes the kernel go from one State to the next, which differ in peers, rules
// and addresses on other nodes of a few networks: a change to one network costs what it
// does on a node that has no other. done tells whether that could be; where a link is
// not as it was left, everything is to be compared. a.mu is held.
func (a *Applier) follow(ctx context.Context, from, to plan.State, networks []string) (result Result, done bool, err error) {
	begin := time.Now()
	if len(networks) == 0 {
		return Result{}, true, nil
	}
	p := a.newPass(ctx, to.Of(networks))
	if err := p.openNetlink(); err != nil {
		return Result{}, true, err
	}
	defer p.close()
	if !p.observeLinks() {
		return Result{}, false, nil
	}
	from = from.Of(networks)
	for _, n := range p.want.Networks {
		p.setNetwork(n)
	}
	p.noteContents()
	for _, o := range p.want.Overlays {
		p.settleOverlay(o)
	}
	p.followBindings(from)
	p.changeOverlayRoutes(compareRoutes(p.behind(p.want.Overlays), p.behind(from.Overlays)))
	p.noteCut()
	a.failed = len(p.errs) > 0
	return Result{Changes: p.changes, Took: time.Since(begin)}, true, errors.Join(p.errs...)
}

// observeLinks reads the bridges and overlays of the networks that are wanted, and
// tells whether they are there, up and zosnet's.
func (p *pass) observeLinks() bool {
	p.links = noLinks()
	var names []string
	for _, n := range p.want.Networks {
		names = append(names, n.Bridge)
	}
	for _, o := range p.want.Overlays {
		names = append(names, o.Interface)
	}
	for _, name := range names {
		if link, err := p.links.refresh(p.netlink, name); err != nil || !ours(link) || !isUp(link) {
			return false
		}
	}
	return true
}

// followBindings writes what differs of the addresses on other nodes, and has the
// flows of those networks judged again.
func (p *pass) followBindings(from plan.State) {
	gone := map[bpf.BindingKey]plan.Binding{}
	for _, b := range from.Bindings {
		if b.Remote {
			gone[bpf.BindingOf(b.Address, b.NetworkID)] = b
		}
	}
	put := map[bpf.BindingKey]bpf.Binding{}
	changed := map[uint32]int{} // by network
	for _, b := range p.want.Bindings {
		if !b.Remote {
			continue
		}
		key := bpf.BindingOf(b.Address, b.NetworkID)
		if old, there := gone[key]; !there || old != b {
			put[key] = bindingEntry(b, p.links.index(b.Interface))
			changed[b.NetworkID]++
		}
		delete(gone, key)
	}
	for _, b := range gone {
		changed[b.NetworkID]++
	}
	if p.failIf("bindings", p.config.Datapath.Maps().ChangeBindings(put, slices.Collect(maps.Keys(gone)))) {
		return
	}
	for _, n := range p.want.Networks {
		if count := changed[n.ID]; count > 0 {
			p.touch(n.ID)
			p.note(networkObject(n.Name), plan.Modify, fmt.Sprintf("%d addresses on other nodes", count))
		}
	}
	p.judgeTouched()
}
