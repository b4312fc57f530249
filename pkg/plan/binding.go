package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// bindingKey is what only one workload can have: an address, and for a link-local
// one the network it is in.
type bindingKey struct {
	network uint32 // 0 for a global address
	address netip.Addr
}

func keyOf(network uint32, address netip.Addr) bindingKey {
	if !address.IsLinkLocalUnicast() {
		network = 0
	}
	return bindingKey{network, address}
}

// bindings gives the planned addresses of namespaces and the learned ones of VMs.
// A learned address that is not the network's, that is its gateway's or that the
// plan gave to a workload is left out. So is one that a VM shares with another:
// the first by name keeps it (the registry lets no second one in).
func bindings(networks []Network, workloads []Workload, learned []Learned, remote []Binding) []Binding {
	set := map[bindingKey]Binding{}
	for _, b := range remote {
		set[keyOf(b.NetworkID, b.Address)] = b
	}
	taps := map[[2]string]Workload{}
	prefix := map[string]netip.Prefix{}
	for _, n := range networks {
		prefix[n.Name] = n.Prefix
		set[keyOf(n.ID, n.Gateway)] = Binding{}
		set[keyOf(n.ID, linkLocalGateway)] = Binding{}
		set[keyOf(n.ID, n.Prefix.Addr())] = Binding{} // subnet-router anycast (RFC 4291, 2.6.1)
	}
	for _, w := range workloads {
		if w.Kind == WorkloadTap {
			taps[[2]string{w.Network, w.Name}] = w
			continue
		}
		for _, address := range []netip.Addr{w.Address, w.LinkLocal} {
			set[keyOf(w.NetworkID, address)] = w.binding(address)
		}
	}
	learned = slices.SortedFunc(slices.Values(learned), compareLearned)
	for _, l := range learned {
		w, ok := taps[[2]string{l.Network, l.Workload}]
		if !ok || !l.Address.IsLinkLocalUnicast() && !prefix[l.Network].Contains(l.Address) {
			continue
		}
		key := keyOf(w.NetworkID, l.Address)
		if _, taken := set[key]; taken {
			continue
		}
		b := w.binding(l.Address)
		b.MAC, b.Tap, b.Learned = l.MAC, true, true
		set[key] = b
	}
	list := make([]Binding, 0, len(set))
	for _, b := range set {
		if b.Address.IsValid() {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b Binding) int {
		return cmp.Or(cmp.Compare(a.NetworkID, b.NetworkID), a.Address.Compare(b.Address))
	})
	return list
}

// joinBindings gives the addresses of all networks, by the networks' numbers. One that
// two other nodes give to workloads of two networks is the first network's; one that is
// a network's own here stays so.
func joinBindings(networks []*State) []Binding {
	byID := slices.SortedFunc(slices.Values(networks), func(a, b *State) int { return cmp.Compare(a.Networks[0].ID, b.Networks[0].ID) })
	list := gather(byID, func(s *State) []Binding { return s.Bindings })
	if list == nil {
		list = []Binding{} // as one network's
	}
	taken := make(map[netip.Addr]bool, len(list)+2*len(networks))
	for _, s := range networks {
		n := &s.Networks[0]
		taken[n.Gateway], taken[n.Prefix.Addr()] = true, true
	}
	for i := range list {
		if b := &list[i]; !b.Remote {
			taken[b.Address] = true // no remote one is link-local
		}
	}
	return slices.DeleteFunc(list, func(b Binding) bool {
		if !b.Remote {
			return false
		}
		was := taken[b.Address]
		taken[b.Address] = true
		return was
	})
}

func (w Workload) binding(address netip.Addr) Binding {
	return Binding{Address: address, NetworkID: w.NetworkID, ServiceID: w.ServiceID, Workload: w.ID,
		Interface: w.Interface, MAC: w.MAC}
}

func compareLearned(a, b Learned) int {
	return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Workload, b.Workload),
		a.Address.Compare(b.Address), slices.Compare(a.MAC[:], b.MAC[:]))
}

// workloadAddress is the address that the plan gives; a VM learns its own.
func workloadAddress(n Network, a Attachment) netip.Addr {
	if a.Kind == WorkloadTap {
		return netip.Addr{}
	}
	return ipam.Address(n.Prefix, a.Host)
}
