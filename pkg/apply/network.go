package apply

import (
	"fmt"
	"maps"
	"slices"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
)

func networkObject(name string) string { return "network " + name }

// absent tells whether an entry is that of no network. The generation stays, so
// that flows of whoever had the id are never taken for the next one's.
func absent(n bpf.Network) bool { return n == bpf.Network{Generation: n.Generation} }

// plannedEntry is a network's entry under the policy version and the generation
// that it has.
func plannedEntry(n plan.Network, bridge int, have bpf.Network) bpf.Network {
	entry := bpf.Network{
		Gateway: bpf.AddressOf(n.Gateway), GatewayMac: bpf.MAC{Bytes: n.BridgeMAC}, Bridge: uint32(bridge),
		Mtu: n.MTU, FlowSets: n.FlowSets, Policy: have.Policy, Generation: have.Generation,
	}
	if n.Policy.HasCIDRs() {
		entry.Flags |= bpf.NetworkHasCIDRs
	}
	if n.Policy.HasLogs() {
		entry.Flags |= bpf.NetworkHasLogs
	}
	return entry
}

// compareEntry gives what differs besides the policy, in words.
func compareEntry(want, have bpf.Network) []difference {
	var d []difference
	field := func(name string, have, want any) {
		if have != want {
			d = append(d, difference{name, fmt.Sprint(have), fmt.Sprint(want)})
		}
	}
	field("gateway", have.Gateway.Addr(), want.Gateway.Addr())
	field("gateway mac", have.GatewayMac.String(), want.GatewayMac.String())
	field("bridge", have.Bridge, want.Bridge)
	field("mtu", have.Mtu, want.Mtu)
	field("flow sets", have.FlowSets, want.FlowSets)
	field("flags", have.Flags, want.Flags)
	return d
}

// setNetwork tells the datapath about a network. A changed policy is written beside
// the one in force under a new version; then the entry names it, and then its
// generation counts up, so that no verdict of the old one carries the new number.
func (p *pass) setNetwork(n plan.Network) {
	have, err := p.config.Datapath.Maps().Network(n.ID)
	if p.failIf(networkObject(n.Name), err) {
		return
	}
	want := plannedEntry(n, p.links.index(n.Bridge), have)
	digest := n.Policy.Digest()
	if noted := p.ledger.Policies[n.ID]; have.Policy == 0 || noted != (version{have.Policy, digest}) || p.tampered[n.ID] {
		want.Policy = max(have.Policy+1, 1)
		action, detail := plan.Modify, fmt.Sprintf("policy version %d → %d", have.Policy, want.Policy)
		if absent(have) {
			action = plan.Add
		}
		if p.tampered[n.ID] {
			detail += ", whose entries were changed"
		}
		p.change(networkObject(n.Name), action, detail, func() error { return p.flip(n, want, digest) })
		return
	}
	if d := compareEntry(want, have); len(d) > 0 {
		p.change(networkObject(n.Name), plan.Modify, describe(d), func() error {
			return p.config.Datapath.Maps().PutNetwork(n.ID, want)
		})
	}
}

// flip brings a policy version into force.
func (p *pass) flip(n plan.Network, entry bpf.Network, digest string) error {
	m := p.config.Datapath.Maps()
	if err := m.PutPolicy(n.ID, entry.Policy, n.Policy); err != nil {
		return err
	}
	if err := m.PutNetwork(n.ID, entry); err != nil {
		return err
	}
	entry.Generation++
	if err := m.PutNetwork(n.ID, entry); err != nil {
		return err
	}
	p.ledger.Policies[n.ID] = version{entry.Policy, digest}
	if err := p.ledger.save(); err != nil {
		return err
	}
	return m.DeletePolicy(n.ID, entry.Policy)
}

// removeNetworks takes networks that the plan no longer has out of the datapath.
// Their links are gone by now.
func (p *pass) removeNetworks() {
	wanted := map[uint32]bool{}
	for _, n := range p.want.Networks {
		wanted[n.ID] = true
	}
	all, err := p.config.Datapath.Maps().AllNetworks()
	if err != nil {
		p.fail("networks", err)
		return
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		have := all[id]
		if wanted[id] || absent(have) {
			continue
		}
		p.change(fmt.Sprintf("network %d", id), plan.Remove, have.Gateway.Addr().String(), func() error { return p.removeNetwork(id) })
	}
}

func (p *pass) removeNetwork(id uint32) error {
	if err := p.removePorts(id); err != nil {
		return err
	}
	if err := p.config.Datapath.Maps().DeleteNetwork(id); err != nil {
		return err
	}
	delete(p.ledger.Policies, id)
	delete(p.ledger.Contents, id)
	return p.ledger.save()
}

// removePorts forgets a network's interfaces.
func (p *pass) removePorts(network uint32) error {
	ports, err := p.config.Datapath.Maps().AllPorts()
	if err != nil {
		return err
	}
	for index, port := range ports {
		if port.Network != network {
			continue
		}
		if err := p.config.Datapath.Maps().DeletePort(index); err != nil {
			return err
		}
	}
	return nil
}
