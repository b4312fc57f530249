package daemon

import (
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/telemetry"
)

// observe makes what shows the datapath's doings.
func (d *Daemon) observe() {
	interfaces := &telemetry.Interfaces{}
	lookup := telemetry.Lookup{Network: d.named, Interface: interfaces.Name}
	kernel := d.datapath.Maps()
	d.metrics = telemetry.NewMetrics(func() (telemetry.Reading, error) { return telemetry.ReadMaps(kernel) },
		lookup, telemetry.Build{Version: d.version})
	d.events = telemetry.NewEvents(lookup, kernel.SetWatched, d.metrics.EventsLost, d.log)
}

// named gives what the network of an id is called.
func (d *Daemon) named(id uint32) (telemetry.Network, bool) {
	v := d.current()
	for _, n := range v.state.Networks {
		if n.ID != id {
			continue
		}
		named := telemetry.Network{Name: n.Name, Workloads: map[uint32]string{}}
		for _, e := range n.Policy.Entries {
			named.Rules = append(named.Rules, e.Key())
		}
		for _, w := range v.state.Workloads {
			if w.NetworkID == id {
				named.Workloads[w.ID] = w.Name
			}
		}
		return named, true
	}
	return telemetry.Network{}, false
}

// entry gives the entry of a network's policy that has a key such as rules[0].
func (v view) entry(network, key string) (policy.Entry, bool) {
	for _, n := range v.state.Networks {
		if n.Name != network {
			continue
		}
		for _, e := range n.Policy.Entries {
			if e.Key() == key {
				return e, true
			}
		}
	}
	return policy.Entry{}, false
}

// dropsOf gives what was dropped for a network, by reason; 0 is the host.
func dropsOf(all map[maps.DropKey]maps.Counter, network uint32) map[maps.DropReason]maps.Counter {
	drops := map[maps.DropReason]maps.Counter{}
	for key, count := range all {
		if key.Network == network {
			drops[maps.DropReason(key.Reason)] = count
		}
	}
	return drops
}
