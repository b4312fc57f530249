package controlplane

import (
	"net"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// discard is the port of RFC 863: nobody answers there, nor need anybody.
const discard = 9

// speakToSilent has a member send a datagram to each node that is not live, every
// lookEvery at most; spoken remembers when.
//
// A node that lost its sessions and whose clock was put back begins in vain, and takes what
// a member begins. A member that still has its end of a session begins nothing: keepalives
// need no answer. Where a packet has none for 15 s, WireGuard shakes hands anew
// (Keepalive-Timeout and Rekey-Timeout: WireGuard whitepaper, 6.5); else only when the
// session has ended, after 180 s.
func (p *Plane) speakToSilent(client *gridstore.Client, spoken map[netip.Addr]time.Time) {
	state, now := p.State(), time.Now()
	if !p.isMember(state) {
		return
	}
	for _, a := range silentNodes(client.Snapshot(), state, now) {
		if now.Sub(spoken[a]) < lookEvery {
			continue
		}
		spoken[a] = now
		if err := speak(a); err != nil {
			p.log.Debug("speak to a node that is not live", "address", a, "error", err)
		}
	}
}

// silentNodes gives the control addresses of the nodes that are in the grid and not live.
func silentNodes(snap gridstore.Snapshot, state *grid.State, now time.Time) (list []netip.Addr) {
	for _, n := range provenNodes(snap, state.Members, now) {
		if is := snap.Nodes[n.Name]; n.Name != state.Node && (is == nil || !is.Live) {
			list = append(list, n.Address)
		}
	}
	return list
}

func speak(to netip.Addr) error {
	conn, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, discard)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte{0})
	return err
}
