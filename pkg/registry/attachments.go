package registry

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// PutAttachment stores a workload and gives it its host number, the lowest that
// no workload of the network has. Host and Created are filled in; what the
// caller has there does not count. One that is stored already like that is
// given as it is.
//
// Errors, besides the registry's own: *NotFoundError for the network or the
// service; *ExistsError when the name belongs to another workload, a service or
// an access device.
func (s *Store) PutAttachment(ctx context.Context, a Attachment) (Attachment, error) {
	if err := a.check(); err != nil {
		return Attachment{}, err
	}
	var stored Attachment
	_, err := s.change(ctx, func(c *change) error {
		if err := c.checkService(a); err != nil {
			return err
		}
		attached, err := c.attachments(a.Network)
		if err != nil {
			return err
		}
		used := make(map[uint32]bool, len(attached))
		for _, other := range attached {
			used[other.Host] = true
			if other.Name != a.Name {
				continue
			}
			stored = other
			if !a.sameAs(other) {
				return &ExistsError{Network: a.Network, Name: fmt.Sprintf("the workload name %q", a.Name), By: other.String()}
			}
			return nil
		}
		stored = a
		stored.Created = s.now().UTC()
		if stored.Host, err = ipam.AllocateHost(func(n uint32) bool { return used[n] }); err != nil {
			return err
		}
		return c.put(attachmentKey(a.Network, a.Name), stored.value())
	})
	if err != nil {
		return Attachment{}, err
	}
	return stored, nil
}

// sameAs tells whether two attachments ask for the same.
func (a Attachment) sameAs(b Attachment) bool {
	return a.Service == b.Service && a.Kind == b.Kind && a.NetnsPath == b.NetnsPath && a.TapName == b.TapName
}

// String says what an attachment is, for messages.
func (a Attachment) String() string {
	switch a.Kind {
	case AttachmentPath:
		return fmt.Sprintf("a workload of service %q in %s", a.Service, a.NetnsPath)
	case AttachmentTap:
		return fmt.Sprintf("a workload of service %q on tap %s", a.Service, a.TapName)
	}
	return fmt.Sprintf("a workload of service %q in a namespace of its own", a.Service)
}

// checkService refuses an attachment to what is not there.
func (c *change) checkService(a Attachment) error {
	var network networkValue
	revision, err := c.get(networkKey(a.Network), &network)
	if err != nil {
		return err
	}
	if revision == 0 {
		return &NotFoundError{Kind: "network", Name: a.Network}
	}
	if _, ok := network.Services[a.Service]; !ok {
		return &NotFoundError{Kind: "service", Network: a.Network, Name: a.Service}
	}
	if _, clash := network.Services[a.Name]; clash {
		return &ExistsError{Network: a.Network, Name: fmt.Sprintf("the name %q", a.Name), By: "a service"}
	}
	if _, clash := network.Access[a.Name]; clash {
		return &ExistsError{Network: a.Network, Name: fmt.Sprintf("the name %q", a.Name), By: "an access device"}
	}
	return nil
}

// DeleteAttachment removes a workload and its bindings. One that is not there
// gives a *NotFoundError.
func (s *Store) DeleteAttachment(ctx context.Context, network, name string) error {
	_, err := s.change(ctx, func(c *change) error {
		if err := c.checkWorkload(network, name); err != nil {
			return err
		}
		c.delete(attachmentKey(network, name))
		c.deleteAll(bindingsOfWorkload(network, name))
		return nil
	})
	return err
}

func (c *change) checkWorkload(network, name string) error {
	var v attachmentValue
	revision, err := c.get(attachmentKey(network, name), &v)
	if err == nil && revision == 0 {
		err = &NotFoundError{Kind: "workload", Network: network, Name: name}
	}
	return err
}

// PutBindings stores learned addresses, all or none. One that is stored with
// the same link-layer address changes nothing.
//
// Errors, besides the registry's own: *NotFoundError for a workload;
// *ExistsError for an address that another workload of the network has bound.
func (s *Store) PutBindings(ctx context.Context, bindings []Binding) error {
	_, err := s.change(ctx, func(c *change) error {
		known := map[string]map[string]Binding{} // by network, address
		checked := map[[2]string]bool{}
		learned := map[string]Binding{} // by key
		for _, b := range bindings {
			workload := [2]string{b.Network, b.Workload}
			if !checked[workload] {
				if err := c.checkWorkload(b.Network, b.Workload); err != nil {
					return err
				}
				checked[workload] = true
			}
			if known[b.Network] == nil {
				var err error
				if known[b.Network], err = c.bindings(b.Network); err != nil {
					return err
				}
			}
			isNew, err := b.bind(known[b.Network])
			if err != nil {
				return err
			}
			if isNew {
				learned[bindingKey(b)] = b
			}
		}
		for key, b := range learned {
			if err := c.put(key, bindingValue{Version: formatVersion, MAC: b.MAC, Learned: b.Learned.UTC()}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// bind adds a binding to those known of its network and tells whether it is new.
func (b Binding) bind(known map[string]Binding) (bool, error) {
	if !b.Address.Is6() || b.Address.Zone() != "" {
		return false, fmt.Errorf("bind %s to workload %q of network %q: not a plain IPv6 address", b.Address, b.Workload, b.Network)
	}
	address := b.Address.String()
	old, found := known[address]
	if found && old.Workload != b.Workload {
		return false, &ExistsError{Network: b.Network, Name: "the address " + address, By: fmt.Sprintf("workload %q", old.Workload)}
	}
	known[address] = b
	return !found || old.MAC != b.MAC, nil
}

// bindings reads a network's bindings, by address.
func (c *change) bindings(network string) (map[string]Binding, error) {
	out := map[string]Binding{}
	err := c.list(bindingsOf(network), func(rest string, kv *mvccpb.KeyValue) error {
		b, err := decodeBinding(network+"/"+rest, kv.Value)
		if err == nil {
			out[b.Address.String()] = b
		}
		return err
	})
	return out, err
}
