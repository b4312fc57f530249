package gridstore

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/zosnet/zosnet/pkg/trust"
)

// ErrNotPinned says that there is no owner to forget.
var ErrNotPinned = errors.New("this node has pinned no owner of it")

// errClosed is the answer of a client that was closed meanwhile.
var errClosed = errors.New("the grid's registry is being closed")

// forgetting is somebody's wish that an owner is forgotten.
type forgetting struct {
	network string
	done    chan error // holds one element
}

// Pins gives what this node remembers of each network's name that it has heard of.
func (c *Client) Pins() map[string]trust.Pin {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.state.pins)
}

// ForgetOwner frees a network's name on this node without its owner's word, also while
// the registry is away, and returns when that will be so after a restart too. What was
// refused only because another owner is pinned is judged again; what the network has
// here stays until a document takes its place. Nothing is written to the registry.
func (c *Client) ForgetOwner(ctx context.Context, network string) error {
	f := &forgetting{network, make(chan error, 1)}
	select {
	case c.forgets <- f:
	case <-c.ended:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("forget the owner of network %s: the grid's registry is being read: %w", network, ctx.Err())
	}
	return <-f.done
}

// forget does it, between two steps of run: nobody else changes the copy then.
func (c *Client) forget(f *forgetting) {
	f.done <- c.forgetOwner(f.network)
}

func (c *Client) forgetOwner(network string) error {
	c.mu.Lock()
	pin := c.state.pins[network]
	c.mu.Unlock()
	if pin.Revision == 0 {
		return fmt.Errorf("forget the owner of network %s: %w", network, ErrNotPinned)
	}
	pin = pin.Forget()
	if c.cache != nil {
		entries, err := c.cache.savePin(network, pin)
		if err != nil {
			return fmt.Errorf("forget the owner of network %s: write %s: %w", network, c.cfg.CacheFile, err)
		}
		if entries != nil {
			c.entries = entries
		}
	}
	c.mu.Lock()
	c.state.pins[network] = pin
	c.state.unsaved[Key{Kind: KindDocument, Network: network}.String()] = true
	c.mu.Unlock()
	notify(c.again)
	return nil
}
