package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// Bounds of how often keys are changed, and of how long a call waits for it.
const (
	shortestPeriod = time.Hour
	longestPeriod  = 10 * 365 * 24 * time.Hour
	longestWait    = time.Hour
)

// ListKeys implements the API.
func (d *Daemon) ListKeys(context.Context, *api.ListKeysRequest) (*api.KeyList, error) {
	return d.keyList(nil)
}

// ScheduleRotation implements the API.
func (d *Daemon) ScheduleRotation(_ context.Context, r *api.ScheduleRotationRequest) (*api.KeyList, error) {
	every := time.Duration(r.EverySeconds) * time.Second
	if r.EverySeconds != 0 && (every < shortestPeriod || r.EverySeconds > int64(longestPeriod/time.Second)) {
		return nil, invalid(fmt.Sprintf("keys are changed every %v at most, and every %v at least; 0 is never", shortestPeriod, longestPeriod))
	}
	parts, err := d.partsNamed(r.Network)
	if err != nil {
		return nil, err
	}
	if err := d.schedule.set(r.Network, every); err != nil {
		return nil, err
	}
	d.enforcer.request() // its end has what is old changed
	return d.keyList(parts)
}

// RotateKeys implements the API.
func (d *Daemon) RotateKeys(ctx context.Context, r *api.RotateKeysRequest) (*api.KeyList, error) {
	if r.WaitSeconds < 0 || r.WaitSeconds > int64(longestWait/time.Second) {
		return nil, invalid(fmt.Sprintf("wait for %v at most", longestWait))
	}
	parts, err := d.partsNamed(r.Network)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if p.Next != nil {
			continue // it is being changed
		}
		if err := d.beginRotation(p); err != nil {
			return nil, err
		}
	}
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil && !onlyWorkloads(err) {
		return nil, stored(err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.WaitSeconds)*time.Second)
	defer cancel()
	for {
		ended := d.enforcer.ended()
		list, err := d.keyList(parts)
		if err != nil || !slices.ContainsFunc(list.Keys, func(k *api.NetworkKey) bool { return k.Next != nil }) {
			return list, err
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return list, nil
		}
	}
}

// partsNamed gives this node's part of a network, or all of them.
func (d *Daemon) partsNamed(network string) ([]plan.Part, error) {
	all := d.current().parts()
	if network == "" {
		return all, nil
	}
	i := slices.IndexFunc(all, func(p plan.Part) bool { return p.Network == network })
	if i < 0 {
		if _, stored := d.current().snapshot.Network(network); !stored {
			return nil, &registry.NotFoundError{Kind: "network", Name: network}
		}
		return nil, refused(fmt.Sprintf("network %s has no WireGuard key here: nothing of it is reached over WireGuard from this node", network))
	}
	return all[i : i+1], nil
}

// keyList gives the keys of the networks that parts are of, of all for none.
func (d *Daemon) keyList(of []plan.Part) (*api.KeyList, error) {
	made, err := d.grid.generations()
	if err != nil {
		return nil, err
	}
	v := d.current()
	list := &api.KeyList{}
	for _, p := range v.parts() {
		if of == nil || slices.ContainsFunc(of, func(o plan.Part) bool { return o.Network == p.Network }) {
			list.Keys = append(list.Keys, d.networkKey(v, p, made[p.Network]))
		}
	}
	slices.SortFunc(list.Keys, func(a, b *api.NetworkKey) int { return strings.Compare(a.Network, b.Network) })
	return list, nil
}

func (d *Daemon) networkKey(v view, p plan.Part, made generations) *api.NetworkKey {
	k := &api.NetworkKey{
		Network: p.Network, PublicKey: wireguard.PublicKey(p.PublicKey).String(), Generation: uint32(p.Generation),
		Port: uint32(p.Port), Made: timeText(made[p.Generation]),
		EverySeconds: int64(d.schedule.of(p.Network) / time.Second),
	}
	if p.Next != nil {
		k.Next = &api.NextKey{
			PublicKey: wireguard.PublicKey(p.Next.PublicKey).String(), Generation: uint32(p.Next.Generation),
			Port: uint32(p.Next.Port), Since: timeText(made[p.Next.Generation]),
		}
	}
	for _, o := range v.state.Overlays {
		switch {
		case o.Network != p.Network:
		case o.Generation == p.Generation:
			if k.Interface = o.Interface; k.Next != nil {
				k.Next.WaitsFor = o.Needed
			}
		case k.Next != nil:
			k.Next.Interface = o.Interface
		}
	}
	return k
}
