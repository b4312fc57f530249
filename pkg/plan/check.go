package plan

import (
	"errors"
	"fmt"
	"net/netip"
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
	type thing struct{ network, name string }
	type host struct {
		network string
		number  uint32
	}
	names, ids, prefixes := claims[string]{}, claims[uint32]{}, claims[netip.Prefix]{}
	services, workloads, hosts := claims[uint32]{}, claims[thing]{}, claims[host]{}
	for _, r := range in.Networks {
		document := r.Document
		name := document.Name
		network := func() string { return "network " + name }
		names.add(name, func() string { return "the document at " + document.Pos.String() })
		ids.add(r.ID, network)
		prefixes.add(r.Prefix, network)
		for service, id := range r.Services {
			services.add(id, func() string { return "service " + name + "/" + service })
		}
		for device, id := range r.Access {
			services.add(id, func() string { return "access " + name + "/" + device })
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
		if !names.has(a.Network) {
			errs = append(errs, fmt.Errorf("workload %s/%s: there is no such network", a.Network, a.Name))
		}
		name, service, number := a.Name, a.Service, a.Host
		workloads.add(thing{a.Network, name}, func() string { return fmt.Sprintf("host %d of service %s", number, service) })
		hosts.add(host{a.Network, number}, func() string { return "workload " + name })
	}
	errs = append(errs,
		names.conflicts(func(n, owners string) error { return fmt.Errorf("network %s is described by %s", n, owners) }),
		ids.conflicts(func(id uint32, owners string) error { return fmt.Errorf("id %d is that of %s", id, owners) }),
		prefixes.conflicts(func(p netip.Prefix, owners string) error { return fmt.Errorf("prefix %s is that of %s", p, owners) }),
		services.conflicts(func(id uint32, owners string) error { return fmt.Errorf("id %d is that of %s", id, owners) }),
		workloads.conflicts(func(w thing, owners string) error {
			return fmt.Errorf("workload %s/%s is %s", w.network, w.name, owners)
		}),
		hosts.conflicts(func(h host, owners string) error {
			return fmt.Errorf("host number %d in network %s is that of %s", h.number, h.network, owners)
		}))
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
	named := func(kind, name string) func() string { return func() string { return kind + " " + name } }
	for _, uplink := range s.Uplinks {
		names.add(uplink, named("uplink", uplink))
	}
	for i := range s.Networks {
		names.add(s.Networks[i].Bridge, named("network", s.Networks[i].Name))
	}
	for i := range s.Overlays {
		names.add(s.Overlays[i].Interface, named("overlay of network", s.Overlays[i].Network))
	}
	for _, e := range s.Entrances {
		names.add(e.Interface, named("entrance of network", e.Network))
	}
	for i := range s.Workloads {
		w := &s.Workloads[i]
		owner := func() string { return "workload " + w.Network + "/" + w.Name }
		names.add(w.Interface, owner)
		macs.add(card{w.Network, w.MAC}, owner)
	}
	return errors.Join(
		names.conflicts(func(name, owners string) error {
			return fmt.Errorf("interface name %s is wanted by %s; give one of them another name", name, owners)
		}),
		macs.conflicts(func(c card, owners string) error {
			return fmt.Errorf("MAC %x is wanted by %s; give one of them another name", c.mac, owners)
		}))
}

// claims is who wants what may be had once: the first, and all where there are more.
type claims[K comparable] map[K]claim

type claim struct {
	first func() string // in words
	all   []string
}

func (c claims[K]) has(key K) bool { return c[key].first != nil }

func (c claims[K]) add(key K, owner func() string) {
	is := c[key]
	switch {
	case is.first == nil:
		is.first = owner
	case is.all == nil:
		is.all = []string{is.first(), owner()}
	default:
		is.all = append(is.all, owner())
	}
	c[key] = is
}

// conflicts gives an error for each that several want, worded by say.
func (c claims[K]) conflicts(say func(key K, owners string) error) error {
	var errs []error
	for key, is := range c {
		if is.all != nil {
			slices.Sort(is.all)
			errs = append(errs, say(key, strings.Join(is.all, " and ")))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
