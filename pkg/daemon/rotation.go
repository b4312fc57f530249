package daemon

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// rotationCheck is how often keys are looked at whose time may have come.
const rotationCheck = time.Minute

// followRotations brings changes of keys to their end, and begins those whose time has
// come, until ctx ends.
func (d *Daemon) followRotations(ctx context.Context) error {
	free := map[string]time.Time{} // since when nobody needs an old overlay, by its interface
	var told []plan.Overlay
	var clock wallClock
	kept, began := d.keptUntil(ctx), time.Now()
	for {
		ended := d.enforcer.ended()
		overlays := d.current().overlays
		if !reflect.DeepEqual(told, overlays) {
			told = overlays
			wake(d.rotated) // what it carries, and which way it sends, is published
		}
		wait, err := d.endRotations(ctx, overlays, free)
		if back := clock.look(time.Now(), time.Since(began), kept); back > 0 {
			d.log.Warn("this machine's clock was put back: other nodes take what this one begins for old, until its keys are changed, which begins now", "by", back)
		}
		err = errors.Join(err, d.beginDue(&clock))
		if err != nil && ctx.Err() == nil {
			d.log.Warn("change keys; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
		case <-time.After(wait):
		}
	}
}

// endRotations gives up the keys of overlays that nobody has needed for a while, and
// tells when to look again.
func (d *Daemon) endRotations(ctx context.Context, overlays []plan.Overlay, free map[string]time.Time) (wait time.Duration, err error) {
	wait = rotationCheck
	var given []plan.Overlay
	there := map[string]bool{}
	for _, o := range overlays {
		if o.Heir == "" || len(o.Needed) > 0 {
			continue
		}
		there[o.Interface] = true
		if free[o.Interface].IsZero() {
			free[o.Interface] = time.Now()
		}
		if left := wireguard.Linger - time.Since(free[o.Interface]); left > 0 {
			wait = min(wait, left)
			continue
		}
		d.grid.giveUp(wireguard.KeyName(o.Network, o.Generation))
		given = append(given, o)
	}
	for name := range free {
		if !there[name] {
			delete(free, name)
		}
	}
	if len(given) == 0 {
		return wait, nil
	}
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil && !onlyWorkloads(err) {
		return gridRetry, nil // it is logged and tried again there
	}
	for _, o := range given {
		err = errors.Join(err, d.grid.forget(wireguard.KeyName(o.Network, o.Generation)))
		d.log.Info("key changed", "network", o.Network, "interface", o.Heir)
	}
	return 0, err
}

// keptUntil gives when the registry had confirmed what an earlier run of this node kept
// of it; zero: nothing is known.
func (d *Daemon) keptUntil(ctx context.Context) time.Time {
	if !d.inGrid() {
		return time.Time{}
	}
	if client := d.control.Known(ctx); client != nil {
		return client.Recalled()
	}
	return time.Time{}
}

// beginDue begins the changes whose time has come, or which the clock asks for.
func (d *Daemon) beginDue(clock *wallClock) error {
	v := d.current()
	made, err := d.grid.generations()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range v.parts() {
		every, at := d.schedule.of(p.Network), made[p.Network][p.Generation]
		due := every != 0 && time.Since(at) >= every || clock.stale(at, time.Now())
		if !due || p.Next != nil {
			continue
		}
		errs = append(errs, d.beginRotation(p))
	}
	return errors.Join(errs...)
}

// beginRotation makes the next key of a part; the rest follows from its being there.
func (d *Daemon) beginRotation(p plan.Part) error {
	g := p.Generation.Next()
	if _, err := d.grid.keys.Make(wireguard.KeyName(p.Network, g)); err != nil {
		return err
	}
	d.log.Info("changing the key", "network", p.Network, "generation", g)
	d.enforcer.request()
	return nil
}

// sends gives for each network whose key is being changed the nodes to which this one
// sends over the device of the new one.
func (v view) sends() map[string][]string {
	list := map[string][]string{}
	for _, p := range v.parts() {
		for _, o := range v.overlays {
			if p.Next == nil || o.Network != p.Network || o.Generation != p.Next.Generation {
				continue
			}
			for _, peer := range o.Peers {
				if !peer.Standby {
					list[p.Network] = append(list[p.Network], peer.Node)
				}
			}
		}
	}
	return list
}
