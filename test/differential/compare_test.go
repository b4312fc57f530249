package differential

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
)

// tally is what the datapath's counters should say at the end.
type tally struct {
	rules    map[maps.RuleKey]uint64
	drops    map[maps.DropKey]uint64
	lockdown map[string]uint64
}

// compare asks both sides about a frame, and gives the verdict, or how they differ.
func (p *programs) compare(w world, m *machine, in policy.Ingress, frame []byte, t tally) (policy.Decision, error) {
	want := w.Evaluate(in, frame)
	if err := p.ask(w, m, in, frame, want, t); err != nil {
		return want, fmt.Errorf("%w\nthe oracle says %+v", err, want)
	}
	if want.Claim.IsValid() {
		if err := p.learn(w, in.Interface, want.Claim); err != nil {
			return want, err
		}
	}
	return want, p.forget(w, want)
}

func (p *programs) ask(w world, m *machine, in policy.Ingress, frame []byte, want policy.Decision, t tally) error {
	if !in.Uplink {
		program := p.workloadEgress
		if in.Overlay {
			program = p.overlayIngress
		}
		code, out, err := p.runTC(program, in.Interface, frame)
		if err != nil {
			return err
		}
		return p.judgeTC(w, in, want, code, frame, out, t)
	}
	code, err := p.runXDP(m.uplink, frame)
	if err != nil {
		return err
	}
	early := policy.Decision{Verdict: policy.ToStack}
	if want.Early {
		early = want
	}
	if wantCode := map[bool]uint32{true: xdpDrop, false: xdpPass}[early.Verdict == policy.Drop]; code != wantCode {
		return errors.Join(fmt.Errorf("uplink_xdp gives %d, want %d", code, wantCode), p.checkEvents(w, early))
	}
	if err := p.checkEvents(w, early); err != nil {
		return fmt.Errorf("uplink_xdp: %w", err)
	}
	if early.Verdict == policy.Drop {
		t.lockdown[early.Reason.String()]++
	}
	if cannotAsk(frame) {
		return nil
	}
	code, out, err := p.runTC(p.uplinkIngress, m.uplink, frame)
	if err != nil {
		return err
	}
	return p.judgeTC(w, in, want, code, frame, out, t)
}

// cannotAsk says whether BPF_PROG_TEST_RUN takes a frame for no tc program: one
// that says IP and ends before the IP header does (convert___skb_to_skb and its
// caller in net/bpf/test_run.c want that header). XDP programs are still asked.
func cannotAsk(frame []byte) bool {
	least := map[uint16]int{0x0800: 14 + 20, 0x86dd: 14 + 40}
	return len(frame) < 14 || len(frame) < least[binary.BigEndian.Uint16(frame[12:])]
}

// judgeTC compares what a tc program did with what it should have done.
func (p *programs) judgeTC(w world, in policy.Ingress, want policy.Decision, code uint32, frame, out []byte, t tally) error {
	wantCode := map[policy.Verdict]uint32{
		policy.Drop: tcShot, policy.ToStack: tcOK, policy.ToWorkload: tcRedirect, policy.ToWorld: tcRedirect,
		policy.ToOverlay: tcRedirect,
	}[want.Verdict]
	if code != wantCode {
		return errors.Join(fmt.Errorf("tc program gives %d, want %d", code, wantCode), p.checkEvents(w, want))
	}
	if err := p.checkEvents(w, want); err != nil {
		return err
	}
	for _, r := range want.Rulings {
		t.rules[maps.RuleKey{Network: w.ids[r.Network].Network, Entry: uint32(r.Position)}]++
	}
	if want.Verdict == policy.Drop {
		t.drops[maps.DropKey{Network: w.ids[want.Network].Network, Reason: uint32(reasonNumber(want.Reason))}]++
	}
	if err := w.checkFrame(in, want, frame, out); err != nil {
		return err
	}
	return p.checkFlow(w, want)
}

// untagged takes a VLAN tag off a frame that has one.
func untagged(frame []byte) []byte {
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x8100, 0x88a8:
		return append(frame[:12], frame[16:]...)
	}
	return frame
}

func reasonNumber(reason policy.Reason) maps.DropReason {
	for _, r := range maps.DropReasons() {
		if r.String() == reason.String() {
			return r
		}
	}
	return 0
}

// checkEvents compares what was reported: the last ruling where its entry asks for
// a log line, an address that was learned, and the drop.
func (p *programs) checkEvents(w world, want policy.Decision) error {
	var expected []maps.Event
	var last *policy.Ruling
	if len(want.Rulings) > 0 {
		last = &want.Rulings[len(want.Rulings)-1]
	}
	entry := ^uint32(0)
	network := w.ids[want.Network].Network
	if last != nil {
		entry = uint32(last.Position)
		if last.Entry.Log {
			e := maps.Event{Kind: uint32(maps.EventLog), Network: network, Entry: entry, Allowed: 1}
			if !last.Entry.Allow {
				e.Allowed, e.Reason = 0, uint32(reasonNumber(want.Reason))
			}
			expected = append(expected, e)
		}
	}
	if want.Claim.IsValid() {
		expected = append(expected, maps.Event{Kind: uint32(maps.EventLearn), Network: network, Entry: entry})
	}
	if want.Verdict == policy.Drop {
		expected = append(expected, maps.Event{
			Kind: uint32(maps.EventDrop), Network: network, Entry: entry, Reason: uint32(reasonNumber(want.Reason)),
		})
	}
	var got []maps.Event
	got, err := p.takeEvents(got)
	if err != nil {
		return err
	}
	if !sameEvents(got, expected) {
		return fmt.Errorf("events %v, want %v", texts(got), texts(expected))
	}
	return nil
}

func sameEvents(got, want []maps.Event) bool {
	if len(got) != len(want) {
		return false
	}
	for i, g := range got {
		w := want[i]
		if g.Kind != w.Kind || g.Network != w.Network || g.Entry != w.Entry || g.Reason != w.Reason || g.Allowed != w.Allowed {
			return false
		}
	}
	return true
}

func texts(events []maps.Event) (list []string) {
	for _, e := range events {
		list = append(list, fmt.Sprintf("{kind %d network %d entry %d reason %s allowed %d}",
			e.Kind, e.Network, int32(e.Entry), maps.DropReason(e.Reason), e.Allowed))
	}
	return list
}

// checkFrame compares what a frame that goes on looks like: for a tenant it has no
// priority tag, into a workload the MACs of the last step, and where it was routed
// its hop limit has counted down. From an overlay it gets an Ethernet header on its way
// into a workload, none into an overlay, and a SYN its maximum segment size.
func (w world) checkFrame(in policy.Ingress, want policy.Decision, frame, out []byte) error {
	if want.Verdict == policy.Drop { // nobody sees what it looks like
		return nil
	}
	wanted := bytes.Clone(frame)
	if in.Overlay {
		overlay, _ := w.Overlay(in.Interface)
		clampMSS(wanted, overlay.MTU)
		if want.Verdict == policy.ToOverlay { // without an Ethernet header still
			wanted[7]--
		}
		if want.Verdict != policy.ToWorkload {
			return sameFrame(wanted, out)
		}
		wanted = append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd}, wanted...)
	} else if want.Network != "" {
		wanted = untagged(wanted)
	}
	to, _ := w.Binding(want.To.Address, want.To.Network)
	_, remote := w.Overlay(to.Interface)
	gateway := gatewayMAC(w.ids[want.To.Network].Network)
	switch want.Verdict {
	case policy.ToWorkload:
		receiver, _ := w.Port(to.Interface)
		copy(wanted, receiver.MAC[:])
		if in.Overlay || want.From.Network != want.To.Network {
			copy(wanted[6:], gateway[:])
			wanted[14+7]--
		}
	case policy.ToWorld:
		wanted[14+7]--
	case policy.ToOverlay: // whose interface takes the Ethernet header off
		wanted[14+7]--
		copy(wanted, gateway[:])
		copy(wanted[6:], make([]byte, 6))
	case policy.ToStack:
		if remote && wanted[14+7] > 1 { // too big: for the gateway to answer
			copy(wanted, gateway[:])
		}
	}
	return sameFrame(wanted, out)
}

func sameFrame(wanted, out []byte) error {
	if !bytes.Equal(wanted, out) {
		return fmt.Errorf("the frame leaves as\n%x, want\n%x", out, wanted)
	}
	return nil
}

// flowKeys gives the key of a decision's flow. The datapath sorts the ends by
// their addresses as numbers of this machine, the later half first.
func (w world) flowKey(d policy.Decision) (key maps.FlowKey, fromLow bool) {
	number := func(a netip.Addr, at int) uint64 {
		b := a.As16()
		return binary.NativeEndian.Uint64(b[at:])
	}
	source, dest := d.Fields.Source, d.Fields.Dest
	fromLow = number(source, 8) < number(dest, 8)
	if number(source, 8) == number(dest, 8) {
		fromLow = number(source, 0) < number(dest, 0)
	}
	key.Proto = uint32(d.Fields.Proto)
	if source.IsLinkLocalUnicast() || dest.IsLinkLocalUnicast() {
		key.Zone = w.ids[d.From.Network].Network
	}
	low, high, lowPort, highPort := dest, source, d.Fields.Dport, d.Fields.Sport
	if fromLow {
		low, high, lowPort, highPort = source, dest, d.Fields.Sport, d.Fields.Dport
	}
	key.Low, key.High = maps.AddressOf(low), maps.AddressOf(high)
	key.LowPort, key.HighPort = bigEndian(lowPort), bigEndian(highPort)
	return key, fromLow
}

func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)})
}

// hasFlow says whether the frame leaves a flow behind: an allowed one, or the
// tombstone of TCP that was refused in the middle.
func hasFlow(d policy.Decision) bool {
	if len(d.Rulings) == 0 {
		return false
	}
	denied := !d.Rulings[len(d.Rulings)-1].Entry.Allow
	return !denied || d.Fields.Proto == 6 && !d.Fields.SYN
}

// checkFlow compares the flow that the frame started.
func (p *programs) checkFlow(w world, want policy.Decision) error {
	if !hasFlow(want) {
		return nil
	}
	key, fromLow := w.flowKey(want)
	var f maps.Flow
	if err := p.maps.Flows.Lookup(&key, &f); err != nil {
		return fmt.Errorf("no flow %+v: %w", key, err)
	}
	from, to := f.Low, f.High
	if !fromLow {
		from, to = to, from
	}
	denied := !want.Rulings[len(want.Rulings)-1].Entry.Allow
	if (f.Denied != 0) != denied || (f.StartedLow != 0) != fromLow {
		return fmt.Errorf("flow %+v, want denied %v, started by the low end %v", f, denied, fromLow)
	}
	for _, end := range []struct {
		is   policy.Endpoint
		have maps.FlowEnd
	}{{want.From, from}, {want.To, to}} {
		var b policy.Binding
		if end.is.Network != "" {
			b, _ = w.Binding(end.is.Address, end.is.Network)
		}
		if end.have.Network != w.ids[end.is.Network].Network || end.have.Ifindex != b.Interface {
			return fmt.Errorf("flow end %+v, want that of %+v on interface %d", end.have, end.is, b.Interface)
		}
	}
	straight := want.Verdict == policy.ToWorkload || want.Verdict == policy.ToOverlay
	if b, _ := w.Binding(want.To.Address, want.To.Network); straight && to.Hop.Ifindex != b.Interface {
		return fmt.Errorf("next hop %+v, want interface %d", to.Hop, b.Interface)
	}
	return nil
}

// forget takes out what the frame left behind, so that the next one is a first
// one too.
func (p *programs) forget(w world, d policy.Decision) error {
	if hasFlow(d) {
		key, _ := w.flowKey(d)
		if err := p.maps.Flows.Delete(&key); err != nil {
			return fmt.Errorf("delete flow: %w", err)
		}
	}
	if d.Fields.First {
		return deleteAll(p.maps.Fragments)
	}
	return nil
}

func deleteAll(m *ebpf.Map) error {
	key := make([]byte, m.KeySize())
	for {
		err := m.NextKey(nil, &key)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := m.Delete(key); err != nil {
			return err
		}
	}
}
