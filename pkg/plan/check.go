package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// check refuses records that claim what another has: the datapath tells networks
// and services apart by these numbers alone.
func (in Input) check() error {
	var errs []error
	if in.FlowSets == 0 || in.FlowShares == 0 {
		errs = append(errs, errors.New("the room for flows is not given"))
	}
	names, ids, prefixes := claims[string]{}, claims[uint32]{}, claims[string]{}
	services, workloads, hosts := claims[uint32]{}, claims[string]{}, claims[string]{}
	for _, r := range in.Networks {
		name := r.Document.Name
		names.add(name, "the document at "+r.Document.Pos.String())
		ids.add(r.ID, "network "+name)
		prefixes.add(r.Prefix.String(), "network "+name)
		for service, id := range r.Services {
			services.add(id, "service "+name+"/"+service)
		}
		for device, id := range r.Access {
			services.add(id, "access "+name+"/"+device)
		}
		if !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() || r.Prefix.Bits() != ipam.NetworkBits || !r.Prefix.Addr().Is6() {
			errs = append(errs, fmt.Errorf("network %s has the prefix %s, which is no IPv6 /%d", name, r.Prefix, ipam.NetworkBits))
		}
		if r.ID < ipam.FirstNetworkID || r.ID > ipam.LastNetworkID {
			errs = append(errs, fmt.Errorf("network %s has the id %d, which is not from %d to %d",
				name, r.ID, ipam.FirstNetworkID, ipam.LastNetworkID))
		}
	}
	for _, a := range in.Attachments {
		if names[a.Network] == nil {
			errs = append(errs, fmt.Errorf("workload %s/%s: there is no such network", a.Network, a.Name))
		}
		workloads.add(a.Network+"/"+a.Name, fmt.Sprintf("host %d of service %s", a.Host, a.Service))
		hosts.add(fmt.Sprintf("%d in network %s", a.Host, a.Network), "workload "+a.Name)
	}
	errs = append(errs,
		names.conflicts(func(n, owners string) error { return fmt.Errorf("network %s is described by %s", n, owners) }),
		ids.conflicts(func(id uint32, owners string) error { return fmt.Errorf("id %d is that of %s", id, owners) }),
		prefixes.conflicts(func(p, owners string) error { return fmt.Errorf("prefix %s is that of %s", p, owners) }),
		services.conflicts(func(id uint32, owners string) error { return fmt.Errorf("id %d is that of %s", id, owners) }),
		workloads.conflicts(func(w, owners string) error { return fmt.Errorf("workload %s is %s", w, owners) }),
		hosts.conflicts(func(h, owners string) error { return fmt.Errorf("host number %s is that of %s", h, owners) }))
	return errors.Join(errs...)
}

// checkInterfaces refuses a state in which two things want one interface name, or
// two workloads of a network one MAC.
func checkInterfaces(s *State) error {
	names := claims[string]{}
	type card struct {
		network string
		mac     [6]byte
	}
	macs := claims[card]{}
	for _, uplink := range s.Uplinks {
		names.add(uplink, "uplink "+uplink)
	}
	for _, n := range s.Networks {
		names.add(n.Bridge, "network "+n.Name)
	}
	for _, o := range s.Overlays {
		names.add(o.Interface, "overlay of network "+o.Network)
	}
	for _, e := range s.Entrances {
		names.add(e.Interface, "entrance of network "+e.Network)
	}
	for _, w := range s.Workloads {
		names.add(w.Interface, "workload "+w.Network+"/"+w.Name)
		macs.add(card{w.Network, w.MAC}, "workload "+w.Network+"/"+w.Name)
	}
	return errors.Join(
		names.conflicts(func(name, owners string) error {
			return fmt.Errorf("interface name %s is wanted by %s; give one of them another name", name, owners)
		}),
		macs.conflicts(func(c card, owners string) error {
			return fmt.Errorf("MAC %x is wanted by %s; give one of them another name", c.mac, owners)
		}))
}

// claims is who wants what may be had once.
type claims[K comparable] map[K][]string

func (c claims[K]) add(key K, owner string) { c[key] = append(c[key], owner) }

// conflicts gives an error for each that several want, worded by say.
func (c claims[K]) conflicts(say func(key K, owners string) error) error {
	var errs []error
	for key, owners := range c {
		if len(owners) > 1 {
			slices.Sort(owners)
			errs = append(errs, say(key, strings.Join(owners, " and ")))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
