package daemon

import (
	"net/netip"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
)

// openControl lets WireGuard's packets for the control interface in: it answers
// nobody who has no key of it.
func openControl(in plan.Input) plan.Input {
	port := []spec.Ports{{Proto: spec.ProtoUDP, First: grid.ControlPort, Last: grid.ControlPort}}
	opening := []spec.LockdownAllow{
		{From: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Ports: port},
		{From: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Ports: port},
	}
	node := *in.Node
	node.Lockdown.Allow = append(opening, node.Lockdown.Allow...)
	in.Node = &node
	if in.Trial != nil {
		trial := *in.Trial
		trial.Allow = append(opening[:2:2], trial.Allow...)
		in.Trial = &trial
	}
	return in
}
