package differential

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/policy/policytest"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/test/testenv"
)

const (
	flowWorlds    = 200
	flowsPerWorld = 100
	firstPort     = 20000
)

// A flow that was let in lives as its rules say: its replies pass, ICMPv6 errors
// about it pass from where its packets went and from nowhere else, and when the
// rules change it is judged again in the direction in which it was started,
// whichever end sends next.
func TestFlowsLiveAsTheirRulesSay(t *testing.T) {
	testenv.RequireBPF(t)
	seed := numberFrom(t, "ZOSNET_SEED", uint64(time.Now().UnixNano()))
	bpffs := filepath.Join(t.TempDir(), "bpf")
	failed := make(chan error)
	go func() { failed <- followFlows(t, bpffs, seed) }()
	if err := <-failed; err != nil {
		t.Errorf("ZOSNET_SEED=%d %v", seed, err)
	}
}

func followFlows(t *testing.T, bpffs string, seed uint64) error {
	m, err := newMachine()
	if err != nil {
		return err
	}
	p, err := load(bpffs)
	if err != nil {
		return err
	}
	defer p.close()
	var seen fates
	for number := range uint32(flowWorlds) {
		random := rand.New(rand.NewPCG(seed, uint64(number)))
		w := world{World: policytest.World(random, m.shape)}
		w.ids = policytest.IDs(w.World)
		f := follower{programs: p, machine: m, r: random, before: w, after: otherRules(random, w), seen: &seen}
		if err := f.follow(2*number + 1); err != nil {
			return fmt.Errorf("world %d: %w\nbefore: %safter: %s", number, err, f.before, f.after)
		}
	}
	t.Logf("flows followed: %+v (ZOSNET_SEED=%d)", seen, seed)
	if seen.Replies == 0 || seen.Errors == 0 || seen.Forged == 0 || seen.Kept == 0 || seen.Stopped == 0 || seen.Remote == 0 || seen.Relayed == 0 {
		t.Errorf("not every fate was met: %+v", seen)
	}
	return nil
}

// fates counts what flows were seen to go through.
type fates struct {
	Replies, Errors, Forged, Kept, Stopped int
	Remote                                 int // replies, of flows from or to another node
	Relayed                                int // replies, of flows from another node to another
}

// otherRules gives the same workloads and the same people's devices under other rules.
func otherRules(r *rand.Rand, w world) world {
	other := *w.World
	other.Networks = slices.Clone(w.Networks)
	for i, n := range w.Networks {
		peers := []string{}
		for _, peer := range w.Networks {
			if peer.Document.Name != n.Document.Name {
				peers = append(peers, peer.Document.Name)
			}
		}
		doc := policytest.Document(r, n.Document.Name, peers)
		for len(doc.Services) != len(n.Document.Services) || !sameDevices(doc, n.Document) {
			doc = policytest.Document(r, n.Document.Name, peers)
		}
		other.Networks[i].Document = doc
	}
	return world{World: &other, ids: w.ids}
}

func sameDevices(a, b *spec.Network) bool {
	return slices.EqualFunc(a.Access, b.Access, func(x, y spec.Access) bool { return x.Name == y.Name })
}

// follower opens flows in one world and follows them into the next.
type follower struct {
	*programs
	*machine
	r             *rand.Rand
	before, after world
	seen          *fates
}

// conversation is an allowed flow with what both ends say.
type conversation struct {
	from, to  policy.Endpoint
	proto     uint8
	there     []byte // frame from the starter
	back      []byte
	port      uint16 // as rules see it
	wentThere policy.Ingress
	comesBack policy.Ingress
}

func (f *follower) follow(version uint32) error {
	if err := f.fill(f.before, version, f.machine); err != nil {
		return err
	}
	var open []conversation
	for i := range flowsPerWorld {
		c, ok := f.conversation(firstPort + uint16(version/2)*flowsPerWorld + uint16(i)) // no flow meets one of before
		if !ok {
			continue
		}
		if err := f.live(c); err != nil {
			return fmt.Errorf("%+v to %+v protocol %d port %d: %w", c.from, c.to, c.proto, c.port, err)
		}
		open = append(open, c)
	}
	if err := f.fill(f.after, version+1, f.machine); err != nil {
		return err
	}
	for _, c := range open {
		if err := f.judgedAgain(c); err != nil {
			return fmt.Errorf("after the change, %+v to %+v protocol %d port %d: %w", c.from, c.to, c.proto, c.port, err)
		}
	}
	return nil
}

// conversation gives a random flow that the world allows; own is the starter's
// port, or the identifier of its query.
func (f *follower) conversation(own uint16) (c conversation, ok bool) {
	from, to, proto, port := policytest.Flow(f.r, f.before.World)
	if proto == 58 {
		port = 128
	}
	if !f.answerable(from) || (from.Network == "" && to.Network == "") || (proto != 6 && proto != 17 && proto != 58) || port == 546 {
		return c, false
	}
	c = conversation{from: from, to: to, proto: proto, port: port}
	c.wentThere, c.there = f.frame(from, to, segment(proto, own, port, true))
	c.comesBack, c.back = f.frame(to, from, segment(proto, port, own, false))
	d := f.before.Evaluate(c.wentThere, c.there)
	return c, d.Verdict == policy.ToWorkload || d.Verdict == policy.ToWorld || d.Verdict == policy.ToOverlay
}

// answerable says whether a reply finds its way: a route leads out to a stranger.
func (f *follower) answerable(e policy.Endpoint) bool {
	var best policy.Route
	for _, r := range f.shape.Routes {
		if r.Prefix.Contains(e.Address) && (!best.Prefix.IsValid() || r.Prefix.Bits() > best.Prefix.Bits()) {
			best = r
		}
	}
	return e.Network != "" || best.Uplink
}

// frame gives a packet from one end to another, and where it enters.
func (f *follower) frame(from, to policy.Endpoint, body []byte) (policy.Ingress, []byte) {
	in := policy.Ingress{Uplink: true}
	frame := []byte{2, 0xee, 0, 0, 0, 1, 2, 0xff, 0, 0, 0, 1, 0x86, 0xdd}
	if from.Network != "" {
		b, _ := f.before.Binding(from.Address, from.Network)
		port, _ := f.before.Port(b.Interface)
		in = policy.Ingress{Interface: port.Interface}
		copy(frame[6:], port.MAC[:])
	}
	header := make([]byte, 40)
	header[0], header[6], header[7] = 6<<4, body[0], 64
	binary.BigEndian.PutUint16(header[4:], uint16(len(body)-1))
	put(header[8:], from.Address)
	put(header[24:], to.Address)
	if f.overlayOf(from) != 0 {
		return policy.Ingress{Overlay: true, Interface: f.entry(from.Network)}, append(header, body[1:]...)
	}
	return in, append(append(frame, header...), body[1:]...)
}

// entry gives any of a network's overlays: while keys are changed, packets come by
// each of them.
func (f *follower) entry(network string) uint32 {
	var list []uint32
	for _, o := range f.before.Overlays {
		if o.Network == network {
			list = append(list, o.Interface)
		}
	}
	return list[f.r.IntN(len(list))]
}

// overlayOf gives the interface behind which an end is; 0: it is none of another node's.
func (f *follower) overlayOf(e policy.Endpoint) uint32 {
	if e.Network == "" {
		return 0
	}
	b, _ := f.before.Binding(e.Address, e.Network)
	o, _ := f.before.Overlay(b.Interface)
	return o.Interface
}

func put(b []byte, a netip.Addr) {
	bytes := a.As16()
	copy(b, bytes[:])
}

// segment gives a protocol's number and its header: the first of a flow, or an
// answer to it. For echo, the identifier is the port that is not the type.
func segment(proto uint8, sport, dport uint16, first bool) []byte {
	b := make([]byte, 21)
	b[0] = proto
	binary.BigEndian.PutUint16(b[1:], sport)
	binary.BigEndian.PutUint16(b[3:], dport)
	switch proto {
	case 6:
		b[13], b[14] = 5<<4, 0x02
		if !first {
			b[14] = 0x12
		}
	case 58:
		id := sport
		b[1], b[2] = 128, 0
		if !first {
			id = dport
			b[1] = 129
		}
		binary.BigEndian.PutUint16(b[5:], id)
	}
	return b
}

// later gives the frame as one that does not start a TCP flow.
func later(frame []byte) []byte {
	frame = slices.Clone(frame)
	if packet := frame[linkHeader(frame):]; packet[6] == 6 {
		packet[40+13] = 0x10
	}
	return frame
}

// send runs a frame through the program of where it enters.
func (f *follower) send(in policy.Ingress, frame []byte) (code uint32, events []maps.Event, err error) {
	switch {
	case in.Uplink:
		code, _, err = f.runTC(f.uplinkIngress, f.uplink, frame)
	case in.Overlay:
		code, _, err = f.runTC(f.overlayIngress, in.Interface, frame)
	default:
		code, _, err = f.runTC(f.workloadEgress, in.Interface, frame)
	}
	if err != nil {
		return 0, nil, err
	}
	events, err = f.takeEvents(nil)
	return code, events, err
}

// passes makes sure that a frame goes straight on, and nothing is said about it.
func (f *follower) passes(what string, in policy.Ingress, frame []byte) error {
	code, events, err := f.send(in, frame)
	if err == nil && (code != tcRedirect || len(events) > 0) {
		err = fmt.Errorf("%s: code %d, events %v\n%x", what, code, texts(events), frame)
	}
	return err
}

// dropped makes sure that a frame is dropped for a reason.
func (f *follower) dropped(what string, reason string, in policy.Ingress, frame []byte) error {
	code, events, err := f.send(in, frame)
	if err != nil {
		return err
	}
	last := maps.Event{}
	if len(events) > 0 {
		last = events[len(events)-1]
	}
	if code != tcShot || maps.DropReason(last.Reason).String() != reason {
		return fmt.Errorf("%s: code %d, events %v, want %s\n%x", what, code, texts(events), reason, frame)
	}
	return nil
}

// live opens a flow, answers it, and sends errors about it.
func (f *follower) live(c conversation) error {
	if code, _, err := f.send(c.wentThere, c.there); err != nil || code != tcRedirect {
		return fmt.Errorf("first packet: code %d, %w", code, err)
	}
	if err := f.passes("reply", c.comesBack, c.back); err != nil {
		return err
	}
	if err := f.passes("next packet", c.wentThere, later(c.there)); err != nil {
		return err
	}
	f.seen.Replies++
	switch fromOther, toOther := f.overlayOf(c.from) != 0, f.overlayOf(c.to) != 0; {
	case fromOther && toOther:
		f.seen.Relayed++
	case fromOther || toOther:
		f.seen.Remote++
	}
	in, tooBig := f.frame(c.to, c.from, quote(c.there))
	if err := f.passes("error from the other end", in, tooBig); err != nil {
		return err
	}
	f.seen.Errors++
	return f.forge(c)
}

// quote gives an ICMPv6 Packet Too Big about a frame's packet.
func quote(frame []byte) []byte {
	return append([]byte{58, 2, 0, 0, 0, 0, 0, 5, 0}, frame[linkHeader(frame):]...)
}

// linkHeader gives where the IP packet begins: one without a link header says in its
// first byte that it is IPv6, which no MAC of the test does.
func linkHeader(frame []byte) int {
	if frame[0]>>4 == 6 {
		return 0
	}
	return 14
}

// forge sends errors about a flow from workloads that have no part in it.
func (f *follower) forge(c conversation) error {
	for _, b := range f.before.Bindings {
		other := policy.Endpoint{Address: b.Address, Network: b.Network, Service: b.Service, Workload: b.Workload}
		if other.Workload == c.from.Workload || other.Workload == c.to.Workload {
			continue
		}
		if f.overlayOf(other) != 0 && (other.Network != c.from.Network || f.overlayOf(c.to) != 0 && c.to.Network == other.Network ||
			f.overlayOf(c.from) != 0 || c.from.Address.IsLinkLocalUnicast()) {
			continue // has no way there, or may be a router on the way
		}
		in, tooBig := f.frame(other, c.from, quote(c.there))
		if err := f.dropped("error from a third workload", "icmp_unrelated", in, tooBig); err != nil {
			return err
		}
		f.seen.Forged++
	}
	if c.to.Network == "" || c.from.Network == "" || c.from.Address.IsLinkLocalUnicast() || f.overlayOf(c.from) != 0 {
		return nil
	}
	stranger := policy.Endpoint{Address: netip.MustParseAddr("2600::5")}
	in, tooBig := f.frame(stranger, c.from, quote(c.there))
	return f.dropped("error from outside about what stays inside", "icmp_unrelated", in, tooBig)
}

// judgedAgain sends on in a flow after the rules have changed.
func (f *follower) judgedAgain(c conversation) error {
	in, frame := c.wentThere, later(c.there)
	if f.r.IntN(2) == 0 {
		in, frame = c.comesBack, later(c.back)
	}
	rulings := f.after.Judge(c.from, c.to, c.proto, c.port)
	for _, r := range rulings {
		if r.Entry.Allow {
			continue
		}
		reason := "policy_" + r.Side.String()
		if err := f.dropped("first packet after the change", reason, in, frame); err != nil {
			return fmt.Errorf("%w by %s", err, r.Entry)
		}
		f.seen.Stopped++
		if err := f.dropped("starter's next", "flow_denied", c.wentThere, later(c.there)); err != nil {
			return err
		}
		return f.dropped("other end's next", "flow_denied", c.comesBack, later(c.back))
	}
	code, events, err := f.send(in, frame)
	if err != nil || code != tcRedirect {
		return fmt.Errorf("first packet after the change: code %d, events %v, %w", code, texts(events), err)
	}
	f.seen.Kept++
	if err := f.passes("starter's next", c.wentThere, later(c.there)); err != nil {
		return err
	}
	return f.passes("other end's next", c.comesBack, later(c.back))
}
