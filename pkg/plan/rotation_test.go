package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// What n2 may have published in the course of a change from generation 3 to 4.
var (
	onlyOld  = func(p *Part) { p.Generation = 3 }
	both     = func(p *Part) { p.Generation, p.Next = 3, &Successor{4, [32]byte{24}, 52002} }
	sendsNew = func(p *Part) { both(p); p.Sends = true }
	onlyNew  = func(p *Part) { p.Generation, p.PublicKey, p.Port = 4, [32]byte{24}, 52002 }
	andNewer = func(p *Part) { onlyNew(p); p.Next = &Successor{5, [32]byte{25}, 53002} }
	lagging  = func(p *Part) {
		p.Generation, p.PublicKey, p.Next, p.Sends = 2, [32]byte{22}, &Successor{3, [32]byte{2}, 51002}, true
	}
	elsewhere = func(p *Part) { p.Generation, p.PublicKey = 9, [32]byte{29} }
)

// changing is spanning with globex on n1 and n2 only, in the midst of a change of keys
// at n1 from generation 3 to 4.
func changing(t testing.TB, n2 func(*Part)) Input {
	in := spanning(t)
	in.Parts, in.Remote = in.Parts[:2], in.Remote[:1]
	in.Parts[0].Generation, in.Parts[0].Next = 3, &Successor{4, [32]byte{14}, 52001}
	n2(&in.Parts[1])
	return in
}

// deviceOf gives the name of n1's device of a generation.
func deviceOf(g wireguard.Generation) string {
	return overlayIdentity("n1", "globex", g).interfaceName(overlayKind, "globex")
}

// TestRotation says what n1 does at each point of a change of keys: which devices n2 is
// a peer of, over which one it is sent to, and whether the old one must stay.
func TestRotation(t *testing.T) {
	const old, next = "old", "next"
	for _, row := range []struct {
		name    string
		n2      func(*Part)
		answers []string // over which n2 has shaken hands
		overdue bool
		peerOf  []string
		via     string // "": it is not reached
		needed  bool
	}{
		{"n2 has not heard of it", onlyOld, []string{old}, false, []string{old}, old, true},
		{"n2 has its next key, and has not answered", both, []string{old}, false, []string{old, next}, old, true},
		{"nor over the old one: nobody speaks", both, nil, false, []string{old, next}, old, true},
		{"n2 answers over the next", both, []string{old, next}, false, []string{old, next}, next, true},
		{"n2 sends over it as well", sendsNew, []string{old, next}, false, []string{old, next}, next, false},
		{"n2 sends over it, and we hear nothing", sendsNew, []string{old}, false, []string{old, next}, old, true},
		{"n2 is done", onlyNew, []string{next}, false, []string{next}, next, false},
		{"n2 is done, and silent", onlyNew, nil, false, []string{next}, next, false},
		{"n2 is done and changes it again", andNewer, []string{next}, false, []string{next}, next, false},
		{"n2 is still at the change before", lagging, []string{old}, false, []string{old}, old, true},
		{"n2 is somewhere else", elsewhere, nil, false, nil, "", false},
		{"a day later: n2 is away", onlyOld, nil, true, []string{old}, old, false},
		{"a day later: n2 works, and knows nothing of it", onlyOld, []string{old}, true, []string{old}, old, true},
		{"a day later: the next port is blocked", both, []string{old}, true, []string{old, next}, old, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := changing(t, row.n2)
			in.Parts[0].Overdue = row.overdue
			devices := map[string]string{old: deviceOf(3), next: deviceOf(4)}
			for _, over := range row.answers {
				key := [32]byte{2}
				if over == next {
					key = [32]byte{24}
				}
				in.Sessions = append(in.Sessions, Session{Interface: devices[over], PublicKey: key, Established: true})
			}
			s := mustCompute(t, in)
			if len(s.Overlays) != 2 {
				t.Fatalf("overlays %+v, want two", s.Overlays)
			}
			first, second := s.Overlays[0], s.Overlays[1]
			if first.Interface != devices[old] || first.Heir != devices[next] || second.Interface != devices[next] || second.Heir != "" {
				t.Errorf("overlays %s (heir %s) and %s (heir %s)", first.Interface, first.Heir, second.Interface, second.Heir)
			}
			if first.Port != 51001 || second.Port != 52001 || first.PublicKey != [32]byte{1} || second.PublicKey != [32]byte{14} || first.MTU != second.MTU {
				t.Errorf("the overlays are %+v and %+v", first, second)
			}
			var peerOf []string
			via := ""
			for i, name := range []string{old, next} {
				for _, p := range s.Overlays[i].Peers {
					peerOf = append(peerOf, name)
					if !p.Standby {
						via += name
					}
					if want := netip.AddrPortFrom(in.Nodes[0].Endpoint, map[string]uint16{old: 51002, next: 52002}[name]); p.Endpoint != want {
						t.Errorf("%s: endpoint %v, want %v", name, p.Endpoint, want)
					}
					if p.Keepalive == 0 {
						t.Errorf("%s: no keepalive, so nobody would know whether it answers", name)
					}
				}
			}
			if d := cmp.Diff(row.peerOf, peerOf); d != "" || via != row.via {
				t.Errorf("sent over %q, want %q; peer of (-want +got)\n%s", via, row.via, d)
			}
			if got := slices.Contains(first.Needed, "n2"); got != row.needed || len(second.Needed) > 0 {
				t.Errorf("needed by %v, %v; want n2: %v", first.Needed, second.Needed, row.needed)
			}
			bound := map[string]string{}
			for _, b := range s.Bindings {
				if b.Remote {
					bound[b.Interface] = b.Address.String()
				}
			}
			want := map[string]string{}
			if row.via != "" {
				want[devices[row.via]] = "2001:db8:bbbb:2::100"
			}
			if d := cmp.Diff(want, bound); d != "" {
				t.Errorf("its workload is bound (-want +got)\n%s", d)
			}
			if away := len(s.Ignored) > 0; away != (row.via == "") {
				t.Errorf("ignored %v", s.Ignored)
			}
		})
	}
}

// TestRotationOpens: both ports are open while there are two.
func TestRotationOpens(t *testing.T) {
	s := mustCompute(t, changing(t, both))
	var open []string
	for _, allow := range s.Lockdown {
		for _, port := range allow.Ports {
			open = append(open, allow.From.String()+" "+port.String())
		}
	}
	for _, want := range []string{"::/0 udp/51001", "0.0.0.0/0 udp/51001", "::/0 udp/52001", "0.0.0.0/0 udp/52001"} {
		if !slices.Contains(open, want) {
			t.Errorf("%s is closed; open are %v", want, open)
		}
	}
}

// TestRotationAlone: without anybody else nothing needs the old key.
func TestRotationAlone(t *testing.T) {
	in := changing(t, onlyOld)
	in.Parts, in.Remote = in.Parts[:1], nil
	s := mustCompute(t, in)
	if len(s.Overlays) != 2 || s.Overlays[0].Heir == "" || len(s.Overlays[0].Needed) > 0 {
		t.Errorf("overlays %+v", s.Overlays)
	}
}

// TestOneKeyOnePeer: who claims another's key, or ours, is no peer, and nobody else is
// the worse for it.
func TestOneKeyOnePeer(t *testing.T) {
	in := spanning(t)
	in.Parts[1].PublicKey = in.Parts[0].PublicKey
	s := mustCompute(t, in)
	if want := (Ignored{"network globex on node n2", "its WireGuard key is another's too"}); !slices.Contains(s.Ignored, want) {
		t.Errorf("ignored %v, want %v", s.Ignored, want)
	}
	s.peer(t, "globex", "n3")
}

// TestDiffRotation says a change of keys in lines: a second overlay comes, a peer
// changes over, the first one goes.
func TestDiffRotation(t *testing.T) {
	steps := []func(*Input){
		func(in *Input) { in.Parts[0].Next = nil; in.Parts[1].Next = nil },
		func(*Input) {},
		func(in *Input) {
			in.Sessions = []Session{{Interface: deviceOf(3), PublicKey: [32]byte{2}, Established: true}, {Interface: deviceOf(4), PublicKey: [32]byte{24}, Established: true}}
		},
		func(in *Input) {
			in.Parts[0].Generation, in.Parts[0].PublicKey, in.Parts[0].Port, in.Parts[0].Next = 4, [32]byte{14}, 52001, nil
			in.Sessions = nil
		},
	}
	want := [][]string{
		{"add overlay 4 of network globex"},
		{"change overlay 3 of network globex peer n2", "change overlay 4 of network globex peer n2"},
		{"remove overlay 3 of network globex"},
	}
	var last State
	for i, step := range steps {
		in := changing(t, both)
		step(&in)
		next := mustCompute(t, in)
		if i > 0 {
			var got []string
			for _, c := range Diff(last, next) {
				got = append(got, string(c.Action)+" "+c.Object)
			}
			for _, line := range want[i-1] {
				if !slices.Contains(got, line) {
					t.Errorf("step %d: %v, without %q", i, got, line)
				}
			}
		}
		last = next
	}
}

// TestRotationKeepsTheDirectWay: a peer goes through the exit only when it is lost over
// both devices.
func TestRotationKeepsTheDirectWay(t *testing.T) {
	const old, next = 3, 4
	for _, row := range []struct {
		name   string
		n2     func(*Part)
		is     map[wireguard.Generation]Session
		direct bool
	}{
		{"lost over the old one, answers over the next", both, map[wireguard.Generation]Session{old: {Lost: true}, next: {Established: true}}, true},
		{"answers over the old one, lost over the next", both, map[wireguard.Generation]Session{old: {Established: true}, next: {Lost: true}}, true},
		{"lost over both", both, map[wireguard.Generation]Session{old: {Lost: true}, next: {Lost: true}}, false},
		{"lost over the only one that it has", onlyNew, map[wireguard.Generation]Session{next: {Lost: true, Established: true}}, false},
		{"not tried yet", both, nil, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := spanning(t)
			in.Networks[1].Document.Exit = "n3"
			in.Nodes[1].Endpoint = netip.MustParseAddr("192.0.2.3")
			in.Parts[0].Generation, in.Parts[0].Next = old, &Successor{next, [32]byte{14}, 52001}
			in.Parts[2].Generation = old
			row.n2(&in.Parts[1])
			for g, is := range row.is {
				is.Interface, is.PublicKey = deviceOf(g), map[wireguard.Generation][32]byte{old: {2}, next: {24}}[g]
				in.Sessions = append(in.Sessions, is)
			}
			s := mustCompute(t, in)
			direct := 0
			for _, o := range s.Overlays {
				for _, p := range o.Peers {
					if p.Node == "n2" && !p.Standby && len(p.AllowedIPs) == 1 {
						direct++
					}
				}
			}
			if (direct == 1) != row.direct {
				t.Errorf("n2 is sent to directly over %d devices, want direct %v:\n%+v", direct, row.direct, s.Overlays)
			}
		})
	}
}

// TestWhoTries: of two nodes the one with the smaller new key calls the other until that
// answers, and from then on both do; one that is hidden calls in any case.
func TestWhoTries(t *testing.T) {
	for _, row := range []struct {
		name            string
		n2              byte // its new key; n1's is 14
		hidden, answers bool
		want            uint16
	}{
		{"the smaller key", 24, false, false, trying},
		{"the greater key", 4, false, false, 0},
		{"the greater key, hidden", 4, true, false, trying},
		{"the greater key, and it has shaken hands", 4, false, true, keepalive},
	} {
		in := changing(t, both)
		in.Parts[1].Next.PublicKey = [32]byte{row.n2}
		if row.hidden {
			in.Node.Endpoint = netip.Addr{}
		}
		if row.answers {
			in.Sessions = []Session{{Interface: deviceOf(4), PublicKey: [32]byte{row.n2}, Established: true}}
		}
		s := mustCompute(t, in)
		if got := s.Overlays[1].Peers[0]; got.Keepalive != row.want {
			t.Errorf("%s: a keepalive of %d s, want %d", row.name, got.Keepalive, row.want)
		}
	}
}
