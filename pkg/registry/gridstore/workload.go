package gridstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/zosnet/zosnet/pkg/registry"
)

// PutAttachment publishes a workload of this node and takes its name, in one
// transaction. A name that another node's workload has gives a
// *registry.ExistsError.
func (c *Client) PutAttachment(ctx context.Context, network string, a Attachment) error {
	k := Key{Kind: KindAttachment, Node: c.cfg.Node, Network: network, Workload: a.Workload}
	if _, err := named(k); err != nil {
		return err
	}
	err := c.change(ctx, fmt.Sprintf("publish workload %q of network %q", a.Workload, network), func(ch *change) error {
		var had claim
		name := Key{Kind: KindClaim, Network: network, Workload: a.Workload}
		taken, err := ch.into(name, &had)
		if err != nil {
			return err
		}
		if taken && had.Node != c.cfg.Node {
			return &computeError{&registry.ExistsError{
				Network: network, Name: fmt.Sprintf("the workload name %q", a.Workload), By: "a workload on node " + had.Node,
			}}
		}
		if !taken {
			if err := ch.replace(name, &claim{Node: c.cfg.Node}); err != nil {
				return err
			}
		}
		return ch.sign(k, &a)
	})
	if failed, ok := errors.AsType[*computeError](err); ok {
		return failed.err
	}
	return err
}

// DeleteAttachment takes a workload of this node back, with its bindings and its
// name. One that is not there is fine.
func (c *Client) DeleteAttachment(ctx context.Context, network, workload string) error {
	k := Key{Kind: KindAttachment, Node: c.cfg.Node, Network: network, Workload: workload}
	if _, err := named(k); err != nil {
		return err
	}
	return c.change(ctx, fmt.Sprintf("take back workload %q of network %q", workload, network), func(ch *change) error {
		ch.delete(k)
		ch.deleteAll(below(c.cfg.Node, KindBinding, network) + workload + "/")
		return ch.unclaim(network, workload)
	})
}

// unclaim gives a workload's name back if it is this node's.
func (c *change) unclaim(network, workload string) error {
	name := Key{Kind: KindClaim, Network: network, Workload: workload}
	var had claim
	taken, err := c.into(name, &had)
	if err != nil {
		return err
	}
	if taken && had.Node == c.client.cfg.Node {
		c.delete(name)
	}
	return nil
}

// PutBindings publishes addresses that workloads of this node took for themselves,
// all or none.
func (c *Client) PutBindings(ctx context.Context, network string, bindings []Binding) error {
	var names []string
	for _, b := range bindings {
		k := c.bindingKey(network, b.Workload, b.Address)
		if _, err := ParseKey(k.String()); err != nil {
			return err
		}
		names = append(names, b.Address.String())
	}
	return c.change(ctx, fmt.Sprintf("publish %s of network %q", strings.Join(names, ", "), network), func(ch *change) error {
		for _, b := range bindings {
			if err := ch.sign(c.bindingKey(network, b.Workload, b.Address), &b); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteBinding takes an address of a workload of this node back.
func (c *Client) DeleteBinding(ctx context.Context, network, workload string, address netip.Addr) error {
	k := c.bindingKey(network, workload, address)
	if _, err := ParseKey(k.String()); err != nil {
		return err
	}
	return c.change(ctx, fmt.Sprintf("take back %s of network %q", address, network), func(ch *change) error {
		ch.delete(k)
		return nil
	})
}

func (c *Client) bindingKey(network, workload string, address netip.Addr) Key {
	return Key{Kind: KindBinding, Node: c.cfg.Node, Network: network, Workload: workload, Address: address}
}
