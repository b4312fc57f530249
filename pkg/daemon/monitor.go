package daemon

import (
	"net/netip"
	"time"

	"google.golang.org/grpc"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/telemetry"
)

// Monitor implements the API.
func (d *Daemon) Monitor(r *api.MonitorRequest, stream grpc.ServerStreamingServer[api.Event]) error {
	sub, err := d.events.Subscribe(telemetry.Filter{Drops: true, Logs: !r.Drops, Learned: !r.Drops})
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := stream.SendHeader(nil); err != nil { // so that the caller knows when it began
		return err
	}
	var missed uint64
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case e, more := <-sub.Events():
			if !more {
				return refused("the daemon is ending")
			}
			m := d.eventMessage(e, r.Frames)
			m.Lost, missed = sub.Missed()-missed, sub.Missed()
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}

func (d *Daemon) eventMessage(e telemetry.Event, frames bool) *api.Event {
	m := &api.Event{
		Time: e.Time.UTC().Format(time.RFC3339Nano), Reason: e.Reason, Network: e.Network,
		Src: addressText(e.Src), Dst: addressText(e.Dst), Proto: e.Proto, Sport: uint32(e.Sport), Dport: uint32(e.Dport),
		Interface: e.Interface, Kind: string(e.Kind), Hook: e.Hook, Rule: e.Rule, Workload: e.Workload,
		Length: e.Length, Mac: e.MAC, EtherType: e.EtherType,
	}
	if e.ICMPType != nil {
		number := uint32(*e.ICMPType)
		m.IcmpType = &number
	}
	if frames {
		m.Frame = e.Frame
	}
	if entry, ok := d.current().entry(e.Network, e.Rule); ok {
		m.Rule, m.Verdict = entry.String(), api.Denied
		if entry.Allow {
			m.Verdict = api.Allowed
		}
	}
	return m
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
