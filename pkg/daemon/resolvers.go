package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/resolver"
)

// resolverCheck is how often the resolvers are looked after: one that has ended is
// started again.
const resolverCheck = 2 * time.Second

// resolversDir is where in the runDir they are.
const resolversDir = "dns"

// resolvers are the networks' resolvers, which run beside the daemon.
type resolvers struct {
	mu        sync.Mutex
	processes *resolver.Processes
	planned   bool // wanted is known
	wanted    []resolver.Served
	failed    string // what the last check said
}

// settle brings the resolvers to the plan.
func (r *resolvers) settle(state plan.State) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.planned, r.wanted = true, nil
	for _, planned := range state.Resolvers {
		r.wanted = append(r.wanted, resolver.Served{
			Network: planned.Network, NetnsPath: planned.NetnsPath, Address: planned.Address,
			Zone: []byte(planned.Zone), Servers: planned.Servers, Namespaces: planned.Namespaces,
		})
	}
	if err := r.processes.Settle(r.wanted); err != nil {
		return &apply.ObjectError{Object: "resolvers", Err: err}
	}
	return nil
}

// check starts those again that have ended.
func (r *resolvers) check(log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.planned {
		return
	}
	said := ""
	if err := r.processes.Settle(r.wanted); err != nil {
		said = err.Error()
	}
	if said != r.failed && said != "" {
		log.Error("look after the resolvers", "error", said)
	}
	r.failed = said
}

// followResolvers looks after the resolvers until ctx ends. They go on.
func (d *Daemon) followResolvers(ctx context.Context) error {
	tick := time.NewTicker(resolverCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.resolvers.check(d.log)
		}
	}
}

// with adds an error to those of an apply.
func with(failed, more error) error {
	switch {
	case more == nil:
		return failed
	case failed == nil:
		return more
	}
	return errors.Join(append(parts(failed), more)...)
}
