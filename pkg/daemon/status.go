package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/api"
)

// Status implements the API.
func (d *Daemon) Status(ctx context.Context, _ *api.StatusRequest) (*api.StatusResponse, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	v, node := d.current(), d.file.node()
	d.mu.Lock()
	repaired := d.repaired
	d.mu.Unlock()
	s := &api.StatusResponse{
		Node: node.Name, Version: d.version, Started: timeText(d.started),
		Revision: snap.Revision, AppliedRevision: v.applied, Applied: timeText(v.when),
		Workloads: uint32(len(snap.Attachments)), Repairs: repaired, Lockdown: lockdownInForce(v.input.Trial),
	}
	for _, n := range snap.Networks {
		s.Networks = append(s.Networks, n.Name)
	}
	for _, p := range d.space.Prefixes(snap) {
		s.Prefixes = append(s.Prefixes, p.String())
	}
	tried, _, failed := d.enforcer.state()
	switch {
	case failed != nil:
		s.Problems = append(s.Problems, failed.Error())
	case !tried:
		s.Problems = append(s.Problems, "the daemon has just started: nothing is enforced anew yet")
	}
	var unlocked []string
	if s.Uplinks, unlocked, err = d.uplinks(); err != nil {
		return nil, err
	}
	for _, name := range unlocked {
		s.Problems = append(s.Problems, fmt.Sprintf("uplink %s is not locked down whole", name))
	}
	if len(s.Uplinks) == 0 {
		s.Problems = append(s.Problems, "there is no uplink: nothing leads to the world")
	}
	s.Problems = append(s.Problems, d.space.Stranded(snap)...)
	if what := d.space.Unsettled(); what != "" {
		s.Problems = append(s.Problems, strings.ReplaceAll(what, "\n", "; "))
	}
	s.Grid = d.registryState()
	if s.Ignored, err = d.ignored(ctx, v); err != nil {
		return nil, err
	}
	s.Ready = tried && failed == nil && len(unlocked) == 0 && len(s.Uplinks) > 0
	for _, name := range node.Uplinks {
		if _, err := netlink.LinkByName(name); err != nil {
			s.Problems = append(s.Problems, fmt.Sprintf("uplink %s is not there; it is locked down as soon as it is", name))
		}
	}
	return s, nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
