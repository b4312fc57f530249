package main

import (
	"context"
	"fmt"
	"time"

	"github.com/zosnet/zosnet/test/attack"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// hostileTenant plays every attack from acme's db against acme's web, and
// looks for it on the wires of both networks.
func (d *demo) hostileTenant(ctx context.Context) error {
	wires := map[*lab.Workload]*probe.Wire{}
	for _, w := range []*lab.Workload{d.db, d.web, d.store} {
		wire, err := probe.OpenWire(w.Machine, "eth0")
		if err != nil {
			return err
		}
		defer wire.Close()
		wires[w] = wire
	}
	gateway, err := gatewayOf(d.db)
	if err != nil {
		return err
	}
	party := func(w *lab.Workload) attack.Party { return attack.Party{Address: w.Address, MAC: wires[w].MAC} }
	list, err := attack.Scene{
		Attacker: party(d.db), Victim: party(d.web), Stranger: party(d.store), Gateway: gateway,
	}.List()
	if err != nil {
		return err
	}
	var checks []check
	for _, a := range list {
		checks = append(checks, check{
			what: "acme/db-1 sends: " + a.Name, want: "dropped", reason: a.Reason,
			run: func(context.Context) (string, string, error) {
				if err := wires[d.db].Send(a.Frame); err != nil {
					return "", "", err
				}
				time.Sleep(100 * time.Millisecond)
				for w, wire := range wires {
					if n := len(wire.Frames(a.Arrived)); n > 0 {
						return fmt.Sprintf("arrived at %s", w.Name), "", nil
					}
				}
				return "dropped", "", nil
			},
			drop: func(drop lab.Drop) bool {
				return drop.Interface == d.db.Interface && drop.Reason == a.Reason
			},
		})
	}
	return d.runAll(ctx, "A hostile tenant", 1, checks)
}

// gatewayOf asks the workload's neighbour table for its gateway's MAC, after
// a ping has put it there.
func gatewayOf(w *lab.Workload) (attack.Party, error) {
	party := attack.Party{Address: w.Gateway()}
	outcome, err := probe.Ping(w.Machine, party.Address, within)
	if err != nil || outcome != probe.Answered {
		return party, fmt.Errorf("ping %s's gateway: %s %w", w.Name, outcome, err)
	}
	party.MAC, err = w.Neighbour("eth0", party.Address)
	return party, err
}
