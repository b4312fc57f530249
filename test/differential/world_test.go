package differential

import (
	"fmt"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/policy/policytest"
)

// keptVersions is how many worlds' policies lie in the maps before the old ones
// are taken out, which waits for the kernel.
const keptVersions = 32

// world is a random one, as both sides know it.
type world struct {
	*policy.World
	ids map[string]policy.IDs
}

func gatewayMAC(network uint32) [6]byte { return [6]byte{2, 0xee, 0, 0, 0, byte(network)} }

// fill writes a world into the maps, as the version of that number.
func (p *programs) fill(w world, version uint32, m *machine) error {
	if err := p.fillNode(w, version, m); err != nil {
		return err
	}
	for _, index := range m.ports {
		if err := p.maps.DeletePort(index); err != nil {
			return err
		}
	}
	for i := range uint32(bridgeCount) {
		if err := p.maps.PutNetwork(i+1, maps.Network{}); err != nil {
			return err
		}
		if _, err := p.maps.SetBindings(i+1, nil); err != nil {
			return err
		}
	}
	for _, o := range m.shape.Overlays {
		if err := p.maps.DeleteOverlay(o.Interface); err != nil {
			return err
		}
	}
	for _, o := range w.Overlays {
		if err := p.maps.PutOverlay(o.Interface, overlayEntry(w.ids[o.Network].Network, o)); err != nil {
			return err
		}
	}
	for _, port := range w.Ports {
		if err := p.maps.PutPort(port.Interface, w.port(port)); err != nil {
			return err
		}
	}
	for i, n := range w.Networks {
		if err := p.fillNetwork(w, n, version, m.bridges[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *programs) fillNode(w world, version uint32, m *machine) error {
	err := p.maps.PutPrefixes(map[netip.Prefix]uint32{
		policytest.Space: maps.PrefixTenant, policytest.NodeOwn: maps.PrefixNode,
	})
	if err != nil {
		return err
	}
	if err := p.maps.PutUplink(m.uplink, nil); err != nil {
		return err
	}
	if err := p.maps.PutLockdown(version, w.Lockdown); err != nil {
		return err
	}
	if err := p.maps.SetLockdown(version); err != nil {
		return err
	}
	if version%keptVersions == 0 {
		return p.maps.DeleteLockdown(version)
	}
	return nil
}

func (p *programs) fillNetwork(w world, n policy.Network, version, bridge uint32) error {
	name := n.Document.Name
	id := w.ids[name].Network
	program, err := policy.Compile(n.Document, w.ids[name])
	if err != nil {
		return err
	}
	if err := p.maps.PutPolicy(id, version, program); err != nil {
		return err
	}
	network := maps.Network{
		Gateway: maps.AddressOf(n.Gateway), Generation: version, Policy: version, Bridge: bridge,
		FlowSets: 64, Mtu: uint16(n.MTU),
	}
	network.GatewayMac.Bytes = gatewayMAC(id)
	if program.HasCIDRs() {
		network.Flags |= maps.NetworkHasCIDRs
	}
	if program.HasLogs() {
		network.Flags |= maps.NetworkHasLogs
	}
	if err := p.maps.PutNetwork(id, network); err != nil {
		return err
	}
	if version%keptVersions == 0 {
		if err := p.maps.DeletePolicy(id, version); err != nil {
			return err
		}
	}
	_, err = p.maps.SetBindings(id, w.bindings(name))
	return err
}

func overlayEntry(network uint32, o policy.Overlay) maps.Overlay {
	entry := maps.Overlay{Network: network}
	if o.Relay {
		entry.Relay = 1
	}
	if o.Entrance {
		entry.Entrance = 1
	}
	return entry
}

func (w world) port(p policy.Port) maps.Port {
	port := maps.Port{
		Network: w.ids[p.Network].Network, Service: w.ids[p.Network].Service(p.Service), Workload: p.Interface,
		Kind: maps.PortVeth, Learnable: uint32(p.Learnable),
	}
	if p.Learnable > 0 {
		port.Kind = maps.PortTap
	}
	for _, b := range w.Bindings {
		if b.Interface == p.Interface && b.Learned {
			port.Learned++
		}
	}
	port.Mac.Bytes = p.MAC
	return port
}

func (w world) bindings(network string) map[maps.BindingKey]maps.Binding {
	list := map[maps.BindingKey]maps.Binding{}
	for _, b := range w.Bindings {
		if b.Network == network {
			list[maps.BindingOf(b.Address, w.ids[network].Network)] = w.binding(b)
		}
	}
	return list
}

func (w world) binding(b policy.Binding) maps.Binding {
	if _, remote := w.Overlay(b.Interface); remote {
		ids := w.ids[b.Network]
		service := ids.Endpoint(policy.Endpoint{Service: b.Service, Access: b.Access})
		return maps.Binding{Network: ids.Network, Service: service, Ifindex: b.Interface, Kind: maps.PortOverlay}
	}
	owner, _ := w.Port(b.Interface)
	port := w.port(owner)
	binding := maps.Binding{
		Network: port.Network, Service: port.Service, Workload: port.Workload, Ifindex: b.Interface, Kind: port.Kind, Mac: port.Mac,
	}
	if b.Learned {
		binding.Learned = 1
	}
	return binding
}

// learn makes the world know an address that a VM has just claimed, once the
// datapath's binding of it is right.
func (p *programs) learn(w world, ifindex uint32, address netip.Addr) error {
	port, _ := w.Port(ifindex)
	b := policy.Binding{
		Address: address, Network: port.Network, Service: port.Service, Workload: port.Workload, Interface: ifindex, Learned: true,
	}
	var got maps.Binding
	key := maps.BindingOf(address, w.ids[port.Network].Network)
	if err := p.maps.Bindings.Lookup(&key, &got); err != nil {
		return fmt.Errorf("the datapath has not learned %s: %w", address, err)
	}
	if want := w.binding(b); got != want {
		return fmt.Errorf("the datapath has learned %+v, want %+v", got, want)
	}
	w.Bindings = append(w.Bindings, b)
	return nil
}
