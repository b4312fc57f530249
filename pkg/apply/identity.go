package apply

import (
	"fmt"
	"maps"
	"slices"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
)

// Learnable is how many addresses a VM may claim by DAD: what Linux gives to one
// interface at most by itself (net.ipv6.conf.*.max_addresses).
const Learnable = 16

// kindOf gives the datapath's word for a workload's kind.
func kindOf(tap bool) uint32 {
	if tap {
		return bpf.PortTap
	}
	return bpf.PortVeth
}

// portEntry says whose a host-side interface is.
func portEntry(w plan.Workload) bpf.Port {
	tap := w.Kind == plan.WorkloadTap
	entry := bpf.Port{Network: w.NetworkID, Service: w.ServiceID, Workload: w.ID,
		Kind: kindOf(tap), Mac: bpf.MAC{Bytes: w.MAC}}
	if tap {
		entry.Learnable = Learnable
	}
	return entry
}

// plannedPorts gives the entries of the interfaces that are there, by ifindex.
func plannedPorts(attachments []*attachment) map[uint32]bpf.Port {
	ports := map[uint32]bpf.Port{}
	for _, a := range attachments {
		if a.link != nil {
			ports[uint32(a.link.Attrs().Index)] = portEntry(a.Workload)
		}
	}
	return ports
}

// comparePortEntry gives what differs of an entry, in words. How many addresses the
// datapath has learned at a port is its own affair.
func comparePortEntry(want, have bpf.Port) []difference {
	var d []difference
	field := func(name string, have, want any) {
		if have != want {
			d = append(d, difference{name, fmt.Sprint(have), fmt.Sprint(want)})
		}
	}
	field("network id", have.Network, want.Network)
	field("service id", have.Service, want.Service)
	field("id", have.Workload, want.Workload)
	field("kind", have.Kind, want.Kind)
	field("learnable addresses", have.Learnable, want.Learnable)
	field("mac", have.Mac.String(), want.Mac.String())
	return d
}

// setPorts tells the datapath whose each interface is, and forgets those that are
// no workload's.
func (p *pass) setPorts(attachments []*attachment) {
	have, err := p.config.Datapath.Maps().AllPorts()
	if err != nil {
		for _, a := range attachments {
			p.fail(a.object(), err)
		}
		return
	}
	want := plannedPorts(attachments)
	for _, index := range slices.Sorted(maps.Keys(have)) {
		if _, wanted := want[index]; !wanted {
			p.touch(have[index].Network)
			p.change("port "+p.nameOf(index), plan.Remove, "", func() error { return p.config.Datapath.Maps().DeletePort(index) })
		}
	}
	for _, a := range attachments {
		if a.link != nil {
			p.setPortEntry(a, have)
		}
	}
}

func (p *pass) setPortEntry(a *attachment, have map[uint32]bpf.Port) {
	index := uint32(a.link.Attrs().Index)
	entry := portEntry(a.Workload)
	d := comparePortEntry(entry, have[index])
	if len(d) == 0 {
		return
	}
	p.touch(a.NetworkID)
	p.settle(a, describe(d), func() error { return p.config.Datapath.Maps().PutPort(index, entry) })
}

// touch notes that a network's flows are to be judged again.
func (p *pass) touch(network uint32) { p.touched[network] = true }

// bindings is who has which address, by network.
type bindings map[uint32]map[bpf.BindingKey]bpf.Binding

// plannedBindings leaves out those whose interface is not there.
func (p *pass) plannedBindings() bindings {
	planned := bindings{}
	for _, n := range p.want.Networks {
		planned[n.ID] = map[bpf.BindingKey]bpf.Binding{}
	}
	for _, b := range p.want.Bindings {
		index := p.links.index(b.Interface)
		if index == 0 || planned[b.NetworkID] == nil {
			continue
		}
		planned[b.NetworkID][bpf.BindingOf(b.Address, b.NetworkID)] = bindingEntry(b, index)
	}
	return planned
}

// bindingEntry says who has an address, behind the interface of that index.
func bindingEntry(b plan.Binding, index int) bpf.Binding {
	entry := bpf.Binding{Network: b.NetworkID, Service: b.ServiceID, Workload: b.Workload,
		Ifindex: uint32(index), Kind: kindOf(b.Tap), Mac: bpf.MAC{Bytes: b.MAC}}
	if b.Remote {
		entry.Kind = bpf.PortOverlay
	}
	if b.Learned {
		entry.Learned = 1
	}
	return entry
}

// compareBindings tells whether a network's bindings are to be written. One that
// the datapath has learned and the plan does not know yet stays while its port is
// its workload's.
func compareBindings(want, have map[bpf.BindingKey]bpf.Binding, ports map[uint32]bpf.Port) bool {
	for key, binding := range want {
		if old, exists := have[key]; !exists || old != binding {
			return true
		}
	}
	for key, binding := range have {
		port := ports[binding.Ifindex]
		kept := binding.Learned != 0 && port.Network == binding.Network && port.Workload == binding.Workload
		if _, wanted := want[key]; !wanted && !kept {
			return true
		}
	}
	return false
}

// setBindings writes the networks' bindings, and has every flow of a network judged
// again whose bindings or ports changed.
func (p *pass) setBindings(attachments []*attachment) {
	all, err := p.config.Datapath.Maps().AllBindings()
	if err != nil {
		for _, n := range p.want.Networks {
			p.fail(networkObject(n.Name), err)
		}
		return
	}
	have := bindings{}
	for key, binding := range all {
		if have[binding.Network] == nil {
			have[binding.Network] = map[bpf.BindingKey]bpf.Binding{}
		}
		have[binding.Network][key] = binding
	}
	ports := plannedPorts(attachments)
	want := p.plannedBindings()
	for _, n := range p.want.Networks {
		if compareBindings(want[n.ID], have[n.ID], ports) {
			p.touch(n.ID)
			detail := fmt.Sprintf("%d addresses", len(want[n.ID]))
			p.change(networkObject(n.Name), plan.Modify, detail, func() error {
				_, err := p.config.Datapath.Maps().SetBindings(n.ID, want[n.ID])
				return err
			})
		}
	}
	p.judgeTouched()
}

// judgeTouched has the flows of every network that this pass touched judged again. A
// verdict that a program is just making of what was before has the generation of then.
func (p *pass) judgeTouched() {
	for _, id := range slices.Sorted(maps.Keys(p.touched)) {
		p.failIf(fmt.Sprintf("network %d", id), p.judgeAgain(id))
	}
}

// judgeAgain makes a network's flows stale. A network that is going has its own
// way of it.
func (p *pass) judgeAgain(id uint32) error {
	n, err := p.config.Datapath.Maps().Network(id)
	if err != nil || absent(n) {
		return err
	}
	n.Generation++
	return p.config.Datapath.Maps().PutNetwork(id, n)
}
