package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// longestTrial bounds how long a trial may be in force.
const longestTrial = time.Hour

// trialSlack is by how much later than the deadline the daemon looks: the
// datapath has gone back by itself then.
const trialSlack = 500 * time.Millisecond

// lockdownInForce names where the openings in force come from.
func lockdownInForce(t *plan.Trial) string {
	switch {
	case t == nil:
		return "document"
	case t.Deadline.IsZero():
		return "confirmed"
	}
	return "trial"
}

// ShowLockdown implements the API.
func (d *Daemon) ShowLockdown(ctx context.Context, _ *api.ShowLockdownRequest) (*api.Lockdown, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return d.lockdown(snap)
}

func (d *Daemon) lockdown(snap registry.Snapshot) (l *api.Lockdown, err error) {
	node, trial := d.file.node(), trialOf(snap, time.Now())
	l = &api.Lockdown{InForce: lockdownInForce(trial), Document: allowMessages(node.Lockdown.Allow)}
	l.Allow = l.Document
	if trial != nil {
		l.Allow, l.Deadline = allowMessages(trial.Allow), timeText(trial.Deadline)
	}
	if l.Uplinks, _, err = d.uplinks(); err != nil {
		return nil, err
	}
	drops, err := d.datapath.Maps().ReadDrops()
	if err != nil {
		return nil, err
	}
	early, err := d.datapath.Maps().ReadLockdownDrops()
	if err != nil {
		return nil, err
	}
	sum := dropsOf(drops, 0)
	for reason, count := range early {
		sum[reason] = maps.Counter{Packets: sum[reason].Packets + count.Packets, Bytes: sum[reason].Bytes + count.Bytes}
	}
	l.Drops = dropList(sum)
	return l, nil
}

func allowMessages(allow []spec.LockdownAllow) []*api.LockdownAllow {
	list := make([]*api.LockdownAllow, len(allow))
	for i, a := range allow {
		list[i] = &api.LockdownAllow{From: a.From.String(), Ports: portTexts(a.Ports), Place: a.Pos.String()}
	}
	return list
}

// TryLockdown implements the API.
func (d *Daemon) TryLockdown(ctx context.Context, r *api.TryLockdownRequest) (*api.Lockdown, error) {
	period := time.Duration(r.Seconds) * time.Second
	if period <= 0 || period > longestTrial {
		return nil, invalid(fmt.Sprintf("lockdown try: for %s: want from 1s to %s", period, longestTrial))
	}
	if r.Document == nil {
		return nil, invalid("lockdown try: no document is given")
	}
	node, err := spec.DecodeNode(r.Document.File, r.Document.Text)
	if err != nil {
		return nil, err
	}
	return d.putTrial(ctx, func(registry.Snapshot) (*registry.LockdownTrial, error) {
		return &registry.LockdownTrial{Allow: node.Lockdown.Allow, Deadline: time.Now().Add(period).UTC()}, nil
	})
}

// ConfirmLockdown implements the API.
func (d *Daemon) ConfirmLockdown(ctx context.Context, _ *api.ConfirmLockdownRequest) (*api.Lockdown, error) {
	return d.putTrial(ctx, func(snap registry.Snapshot) (*registry.LockdownTrial, error) {
		t := trialOf(snap, time.Now())
		if t == nil {
			return nil, refused("lockdown confirm: nothing is being tried, or its time was over; try it again")
		}
		return &registry.LockdownTrial{Allow: t.Allow}, nil
	})
}

// putTrial stores what next makes of the registry, and waits until it is in force.
func (d *Daemon) putTrial(ctx context.Context, next func(registry.Snapshot) (*registry.LockdownTrial, error)) (*api.Lockdown, error) {
	if err := d.changeTrial(ctx, next); err != nil {
		return nil, err
	}
	_, err := d.settle(ctx, func(object string) bool { return object == "lockdown" || object == "lockdown trial" })
	if err != nil {
		return nil, stored(err)
	}
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return d.lockdown(snap)
}

func (d *Daemon) changeTrial(ctx context.Context, next func(registry.Snapshot) (*registry.LockdownTrial, error)) error {
	d.change.Lock()
	defer d.change.Unlock()
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	trial, err := next(snap)
	if err != nil {
		return err
	}
	return d.store.PutLockdownTrial(ctx, trial)
}

// errKeep says that what is stored about a trial stays.
var errKeep = errors.New("keep")

// dropConfirmed lets node.yaml's lockdown count again where a trial was
// confirmed.
func (d *Daemon) dropConfirmed(ctx context.Context) error {
	return d.dropTrial(ctx, func(t *registry.LockdownTrial) bool { return t.Deadline.IsZero() })
}

// dropTrial removes what is stored about a trial, if it is over.
func (d *Daemon) dropTrial(ctx context.Context, over func(*registry.LockdownTrial) bool) error {
	err := d.changeTrial(ctx, func(snap registry.Snapshot) (*registry.LockdownTrial, error) {
		if snap.Lockdown == nil || !over(snap.Lockdown) {
			return nil, errKeep
		}
		return nil, nil
	})
	if errors.Is(err, errKeep) {
		return nil
	}
	return err
}

// followTrial removes trials from the registry as their time is over, and
// confirmed ones that node.yaml says by now.
func (d *Daemon) followTrial(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case deadline := <-d.deadlines:
			timer.Reset(time.Until(deadline) + trialSlack)
			continue
		case <-timer.C:
		}
		err := d.dropTrial(ctx, func(t *registry.LockdownTrial) bool {
			if t.Deadline.IsZero() {
				return sameLockdown(t.Allow, d.file.node().Lockdown.Allow)
			}
			return !t.Deadline.After(time.Now())
		})
		if err != nil && ctx.Err() == nil {
			d.log.Error("remove a lockdown trial that is over; the datapath has gone back by itself", "error", err)
		}
	}
}

// expectTrialEnd has followTrial look again when a trial's time is over.
func (d *Daemon) expectTrialEnd(snap registry.Snapshot) {
	if snap.Lockdown == nil || snap.Lockdown.Deadline.IsZero() {
		return
	}
	select {
	case d.deadlines <- snap.Lockdown.Deadline:
	default: // it has the last one to take yet, and enforcements come again
	}
}
