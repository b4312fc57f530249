package daemon

import (
	"context"
	"strings"

	"github.com/zosnet/zosnet/pkg/plan"
)

// followRegistry asks for an enforcement whenever the registry changes, and ends
// with it: a registry that stopped works again only in a new process.
func (d *Daemon) followRegistry(ctx context.Context) error {
	changed := d.store.Watch(ctx, 0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.store.Failed():
			_, err := d.store.Snapshot(ctx)
			return err
		case _, open := <-changed:
			if !open {
				changed = nil
				continue
			}
			d.enforcer.request()
		}
	}
}

// followSignals rereads node.yaml at SIGHUP.
func (d *Daemon) followSignals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.hangups:
			d.reload(ctx)
		}
	}
}

func (d *Daemon) reload(ctx context.Context) {
	d.service.reloading()
	status := enforcedText(nil)
	if err := d.reread(ctx); err != nil {
		d.log.Error("reload; the old node.yaml stays in force where the new one cannot", "error", err)
		status = "the last reload failed: see the log"
	} else {
		d.log.Info("reloaded", "file", d.file.path)
	}
	d.service.ready(status)
}

// reread takes node.yaml anew and enforces it. What it says of lockdown counts
// again where a trial was confirmed.
func (d *Daemon) reread(ctx context.Context) error {
	if err := d.file.reread(); err != nil {
		return err
	}
	if err := d.control.Reread(); err != nil {
		return err
	}
	if err := d.dropConfirmed(ctx); err != nil {
		return err
	}
	wake(d.reloaded)
	return d.enforcer.wait(ctx, d.enforcer.request())
}

// alive tells whether the daemon gets anywhere.
func (d *Daemon) alive() bool {
	_, running, _ := d.enforcer.state()
	return running < stuckAfter
}

// onMTU asks for an enforcement where the uplinks' MTU is not what the plan follows
// from: an uplink came or was changed. Without any it stays as it was.
func (d *Daemon) onMTU(now uint16) {
	if v := d.current(); v.node != "" && now != 0 && v.input.MTU != now {
		d.log.Info("the uplinks' MTU changed", "bytes", now, "before", v.input.MTU)
		d.enforcer.request()
	}
}

func (d *Daemon) onRepair(c plan.Change) {
	d.calls.enforced([]plan.Change{c})
	d.mu.Lock()
	d.repaired++
	d.mu.Unlock()
	kind, _, _ := strings.Cut(c.Object, " ")
	d.metrics.Repaired(kind)
}
