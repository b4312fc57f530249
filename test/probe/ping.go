package probe

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/zosnet/zosnet/test/lab"
)

// family is what differs between ICMP (RFC 792) and ICMPv6 (RFC 4443).
type family struct {
	network, any string
	protocol     int
	request      icmp.Type
	reply        icmp.Type
	unreachable  []icmp.Type
}

var (
	icmpV4 = family{"ip4:icmp", "0.0.0.0", 1, ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply,
		[]icmp.Type{ipv4.ICMPTypeDestinationUnreachable, ipv4.ICMPTypeTimeExceeded}}
	icmpV6 = family{"ip6:ipv6-icmp", "::", 58, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply,
		[]icmp.Type{ipv6.ICMPTypeDestinationUnreachable, ipv6.ICMPTypeTimeExceeded}}
)

// Ping sends echo requests, one every quarter of the time, until the first
// answer to one of them.
func Ping(from *lab.Machine, to netip.Addr, within time.Duration) (Outcome, error) {
	f := icmpV4
	if to.Is6() {
		f = icmpV6
	}
	var conn *icmp.PacketConn
	err := from.Do(func() (err error) {
		conn, err = icmp.ListenPacket(f.network, f.any)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("open a raw socket on %s: %w", from.Name, err)
	}
	defer func() { _ = conn.Close() }()
	outcome, err := f.ping(conn, to, within)
	if err != nil {
		return "", fmt.Errorf("ping %v from %s: %w", to, from.Name, err)
	}
	return outcome, nil
}

func (f family) ping(conn *icmp.PacketConn, to netip.Addr, within time.Duration) (Outcome, error) {
	const tries = 4
	id := int(rand.Uint32() & 0xffff)
	for seq := range tries {
		msg := icmp.Message{Type: f.request, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte("zosnet probe")}}
		// The kernel fills in the checksum of ICMPv6.
		packet, err := msg.Marshal(nil)
		if err != nil {
			return "", err
		}
		target := &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()}
		if _, err := conn.WriteTo(packet, target); err != nil {
			return classify(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(within / tries)); err != nil {
			return "", err
		}
		outcome, err := f.await(conn, id)
		if outcome != Silent || err != nil {
			return outcome, err
		}
	}
	return Silent, nil
}

// await reads until an answer to the request with this id, or the deadline.
func (f family) await(conn *icmp.PacketConn, id int) (Outcome, error) {
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return classify(err)
		}
		msg, err := icmp.ParseMessage(f.protocol, buf[:n])
		if err != nil {
			continue
		}
		if echo, ok := msg.Body.(*icmp.Echo); ok && msg.Type == f.reply && echo.ID == id {
			return Answered, nil
		}
		if f.isErrorAbout(msg, id) {
			return Unreachable, nil
		}
	}
}

// isErrorAbout reports whether msg is an ICMP error whose quoted packet is
// our request.
func (f family) isErrorAbout(msg *icmp.Message, id int) bool {
	for _, t := range f.unreachable {
		if msg.Type != t {
			continue
		}
		var quoted []byte
		switch body := msg.Body.(type) {
		case *icmp.DstUnreach:
			quoted = body.Data
		case *icmp.TimeExceeded:
			quoted = body.Data
		}
		header := 40
		if f.protocol == 1 && len(quoted) > 0 {
			header = int(quoted[0]&0xf) * 4
		}
		// Type, code, checksum, then the id.
		const idAt = 4
		if len(quoted) < header+idAt+2 {
			return false
		}
		return int(quoted[header+idAt])<<8|int(quoted[header+idAt+1]) == id
	}
	return false
}
