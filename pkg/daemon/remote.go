package daemon

import (
	"slices"

	"github.com/zosnet/zosnet/pkg/policy"
)

// addRemote tells the oracle of workloads on other nodes.
func (v view) addRemote(w *policy.World) {
	for i, o := range v.state.Overlays {
		overlay := policy.Overlay{Interface: uint32(len(v.state.Workloads) + i + 1), Network: o.Network, MTU: int(o.MTU), Relay: o.Relay}
		w.Overlays = append(w.Overlays, overlay)
		for _, r := range v.input.Remote {
			if r.Network != o.Network {
				continue
			}
			for _, b := range v.state.Bindings {
				if b.Remote && b.NetworkID == o.NetworkID && b.Interface == o.Interface && slices.Contains(r.Addresses, b.Address) {
					w.Bindings = append(w.Bindings, policy.Binding{
						Address: b.Address, Network: r.Network, Service: r.Service, Workload: r.Name, Interface: overlay.Interface,
					})
				}
			}
		}
	}
}
