package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

const (
	// settleTime is between two comparisons of the kernel with the plan, at least:
	// events come in bursts.
	settleTime = 100 * time.Millisecond
	// settleShare keeps one who makes events all the time to a part of a processor: the
	// next comparison waits so many times what the last one took, up to settleMost.
	settleShare = 4
	settleMost  = time.Second
	// checkInterval is how often it is compared without an event: programs, maps and
	// other namespaces give none. What drifts is to be back within 5 s.
	checkInterval = 3 * time.Second
)

// Hooks are told what Run finds. They must not wait for the Applier.
type Hooks struct {
	Repaired func(plan.Change)
	MTU      func(uint16) // smallest of the uplinks, in bytes, after each comparison; 0: there is none
}

// Run keeps the kernel as the last State says until ctx ends: it compares them
// after netlink events and every few seconds, and makes again what is missing. Each
// repair is logged. Route changes make the datapath look its next hops up again.
func (a *Applier) Run(ctx context.Context, hooks Hooks) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	events, err := subscribe()
	if err != nil {
		return err
	}
	a.setWatched(true)
	defer a.setWatched(false)
	drifted, moved := make(chan struct{}, 1), make(chan struct{}, 1)
	group.Go(func() {
		<-ctx.Done()
		events.Close()
	})
	group.Go(func() { receive(ctx, events, a.config.Log, drifted, moved) })
	group.Go(func() { advanceRoutes(ctx, a.config.Datapath.Maps(), moved, a.config.Log) })
	a.watch(ctx, drifted, hooks)
	return nil
}

func (a *Applier) setWatched(watched bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched = watched
}

// watch checks at an event at once, for a new uplink is open until then, and again
// for those that follow within settleTime; and every checkInterval.
func (a *Applier) watch(ctx context.Context, drifted <-chan struct{}, hooks Hooks) {
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	var reported string
	for {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
		case <-drifted:
		}
		begin := time.Now()
		reported = a.repair(ctx, hooks, reported)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(settleTime, min(settleShare*time.Since(begin), settleMost))):
		}
	}
}

// repair applies the last State again. It gives the error that it logged: one that
// stays is logged once.
func (a *Applier) repair(ctx context.Context, hooks Hooks, reported string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		return reported
	}
	result, err := a.pass(ctx, *a.last, true)
	for _, c := range result.Changes {
		a.config.Log.Warn("repaired what had drifted from the plan", "object", c.Object, "action", c.Action, "detail", c.Detail)
		hooks.Repaired(c)
	}
	hooks.MTU(result.mtu)
	if err == nil || ctx.Err() != nil {
		return ""
	}
	if err.Error() != reported {
		a.config.Log.Error("what has drifted from the plan cannot be repaired; it is tried again", "error", err)
	}
	return err.Error()
}

// subscribe listens for changes to links, IPv6 addresses and routes.
func subscribe() (*nl.NetlinkSocket, error) {
	groups := []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE}
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe to netlink events: %w", err)
	}
	return events, nil
}

// receive signals each change. Where the kernel had more events than the socket
// holds (ENOBUFS), something changed as well.
func receive(ctx context.Context, events *nl.NetlinkSocket, log *slog.Logger, signals ...chan<- struct{}) {
	for ctx.Err() == nil {
		_, _, err := events.Receive()
		if ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			log.Warn("netlink events cannot be read; drift is found by the slow check only", "error", err)
			return
		}
		for _, signal := range signals {
			select {
			case signal <- struct{}{}:
			default: // one waits already
			}
		}
	}
}
