package daemon

import (
	"context"
	"fmt"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/policy"
)

// Trace implements the API.
func (d *Daemon) Trace(_ context.Context, r *api.TraceRequest) (*api.TraceResponse, error) {
	if r.Protocol > 255 || r.Port > 65535 {
		return nil, invalid(fmt.Sprintf("trace: protocol %d, port %d: out of range", r.Protocol, r.Port))
	}
	v := d.current()
	if v.state.Node == "" {
		return nil, refused("trace: the daemon has just started and has no plan yet; try again")
	}
	world := v.world()
	t, err := world.Trace(policy.Query{From: r.From, To: r.To, Proto: uint8(r.Protocol), Port: uint16(r.Port)})
	if err != nil {
		return nil, invalid(err.Error())
	}
	response := &api.TraceResponse{
		Verdict: t.Verdict, Rule: t.Rule, Reason: t.Reason, Protocol: t.Protocol,
		From: traceEnd(t.From), To: traceEnd(t.To),
	}
	for _, s := range t.Sides {
		response.Sides = append(response.Sides, &api.TraceSide{
			Network: s.Network, Side: s.Side, Verdict: s.Verdict, Rule: s.Rule, Entry: s.Entry,
			File: s.File, Line: uint32(s.Line), Column: uint32(s.Column),
		})
	}
	return response, nil
}

func traceEnd(e policy.TraceEnd) *api.TraceEnd {
	return &api.TraceEnd{Address: e.Address, Network: e.Network, Service: e.Service, Workload: e.Workload, Access: e.Access}
}

// world gives what this node knows, in the words of the oracle.
func (v view) world() policy.World {
	var w policy.World
	for _, r := range v.input.Networks {
		for _, n := range v.state.Networks {
			if n.Name == r.Document.Name {
				w.Networks = append(w.Networks, policy.Network{
					Document: r.Document, Prefix: n.Prefix, Gateway: n.Gateway, Resolver: true,
				})
			}
		}
	}
	for i, workload := range v.state.Workloads {
		w.Ports = append(w.Ports, policy.Port{
			Interface: uint32(i + 1), Network: workload.Network, Service: workload.Service,
			Workload: workload.Name, MAC: workload.MAC,
		})
	}
	for _, b := range v.state.Bindings {
		for i, workload := range v.state.Workloads {
			if workload.NetworkID != b.NetworkID || workload.ID != b.Workload {
				continue
			}
			w.Bindings = append(w.Bindings, policy.Binding{
				Address: b.Address, Network: workload.Network, Service: workload.Service,
				Workload: workload.Name, Interface: uint32(i + 1), Learned: b.Learned,
			})
		}
	}
	v.addRemote(&w)
	v.addDevices(&w)
	for _, p := range v.state.Prefixes {
		if p.Node {
			w.NodeOwn = append(w.NodeOwn, p.Prefix)
		} else {
			w.Space = append(w.Space, p.Prefix)
		}
	}
	return w
}
