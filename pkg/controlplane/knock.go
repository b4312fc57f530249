package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// doorPatience is how long the control interface may take to get a peer, or to lose it,
// once the registry says so, and the invitation service to listen.
const doorPatience = 30 * time.Second

// note changes what others meet when they knock at this node: the peers of its control
// interface, and whether the invitation service listens.
func (p *Plane) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.noted)
	p.noted = make(chan struct{})
}

// untilPeer waits until the control interface has a peer, or has it no more. Who begins a
// handshake with an interface that does not know it yet is not answered, and WireGuard
// tries again only after five seconds (Rekey-Timeout).
func (p *Plane) untilPeer(ctx context.Context, key trust.ControlKey, there bool) error {
	wake(p.look)
	if err := p.until(ctx, func() bool { return p.peers[key] == there }); err != nil {
		return fmt.Errorf("the control interface is not as the registry says yet: %w", err)
	}
	return nil
}

// until waits until what was noted is as it should be.
func (p *Plane) until(ctx context.Context, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, doorPatience)
	defer cancel()
	for {
		p.mu.Lock()
		reached, noted := is(), p.noted
		p.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-noted:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), p.Failure())
		}
	}
}
