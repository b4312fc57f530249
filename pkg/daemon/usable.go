package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

const (
	usableWithin = 10 * time.Second // DAD takes 1 to 2 s where somebody has switched it on
	usablePoll   = 20 * time.Millisecond
)

// usable waits until a workload's address can be bound in its namespace, and is
// reached there. A VM takes its address when it boots.
func usable(ctx context.Context, w plan.Workload) error {
	if w.Kind == plan.WorkloadTap {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, usableWithin)
	defer cancel()
	for {
		waiting, err := addressState(w.NetnsPath, w.Address)
		if err != nil || waiting == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("workload %s/%s is attached, but its address %s cannot be used: it %s in %s",
				w.Network, w.Name, w.Address, waiting, w.NetnsPath)
		case <-time.After(usablePoll):
		}
	}
}

// addressState says what is wrong with an address in a namespace; nothing when
// it can be used.
func addressState(namespace string, address netip.Addr) (waiting string, err error) {
	waiting = "is missing"
	err = ns.WithNetNSPath(namespace, func(ns.NetNS) error {
		list, err := netlink.AddrList(nil, netlink.FAMILY_V6)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil // look again
		}
		if err != nil {
			return fmt.Errorf("list the addresses in %s: %w", namespace, err)
		}
		for _, a := range list {
			if !a.IP.Equal(net.IP(address.AsSlice())) {
				continue
			}
			switch {
			case a.Flags&unix.IFA_F_DADFAILED != 0:
				waiting = "is a duplicate"
			case a.Flags&unix.IFA_F_TENTATIVE != 0:
				waiting = "is tentative"
			case !isLocal(address):
				waiting = "has no local route"
			default:
				waiting = ""
			}
		}
		return nil
	})
	return waiting, err
}

// isLocal tells whether the namespace takes packets to an address for its own. The
// kernel makes the route that says so in a work queue, also for an address without DAD;
// before, it loses them.
func isLocal(address netip.Addr) bool {
	routes, err := netlink.RouteGet(address.AsSlice())
	return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
}
