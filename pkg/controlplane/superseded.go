package controlplane

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// askEvery is how often a member asks the others whether the registry was recovered
// without it; askPatience bounds what it waits for their answers.
const (
	askEvery    = 30 * time.Second
	askPatience = 3 * time.Second
)

// errSuperseded ends a member of a registry that was recovered without it.
var errSuperseded = errors.New("the registry was recovered by another member while this one was away or cut off, and this one is none any more; promote it again")

// errAlone ends a member that is to be the only one.
var errAlone = errors.New("this member is to be the only one")

// ofRecovery sees to it, before this member starts, that its part of the registry is of
// the last recovery there was: makes that recovery, notes it where the member joins, or
// finds that it is not.
func (p *Plane) ofRecovery(ctx context.Context, joins bool) error {
	state := p.State()
	switch {
	case state.Recovering:
		return p.beAlone(ctx)
	case joins:
		_, err := p.change(func() (*grid.State, error) { return p.home.SetRecovery(p.Registry().Snapshot().Recovery) })
		return err
	case !state.Founding && p.superseded(ctx):
		return errSuperseded
	}
	return nil
}

// superseded asks the other members whether the registry was recovered without this
// one. Those that were lost together are a majority of what is no more, and must not
// serve when they come back. Who does not answer says nothing.
func (p *Plane) superseded(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	state := p.State()
	var is atomic.Bool
	var asked sync.WaitGroup
	for _, m := range state.Members {
		if m.Name == state.Node {
			continue
		}
		asked.Go(func() {
			answer, err := gridstore.Ask(ctx, registryEndpoints([]grid.Node{m})[0], p.registryTLS())
			if err == nil && answer.Recovery > state.Recovery {
				is.Store(true)
				cancel() // one is enough
			}
		})
	}
	asked.Wait()
	return is.Load()
}
