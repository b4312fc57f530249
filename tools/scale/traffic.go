package main

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// traffic is what the member has sent to and received from each node: bytes of TCP,
// with TLS, by the node's port.
type traffic map[uint16]struct{ sent, received uint64 }

// readTraffic asks the kernel for the member's connections.
func readTraffic() (traffic, error) {
	list, err := netlink.SocketDiagTCPInfo(unix.AF_INET6)
	if err != nil {
		return nil, fmt.Errorf("read the connections: %w", err)
	}
	t := traffic{}
	for _, s := range list {
		if s.TCPInfo != nil && s.InetDiagMsg.ID.SourcePort == clientPort && s.InetDiagMsg.ID.DestinationPort != 0 {
			t[s.InetDiagMsg.ID.DestinationPort] = struct{ sent, received uint64 }{s.TCPInfo.Bytes_acked, s.TCPInfo.Bytes_received}
		}
	}
	return t, nil
}

// since gives what went to each node and came from it, each sorted. A connection that
// is new has all of its own.
func (t traffic) since(before traffic) (sent, received []uint64) {
	for port, now := range t {
		sent = append(sent, now.sent-before[port].sent)
		received = append(received, now.received-before[port].received)
	}
	slices.Sort(sent)
	slices.Sort(received)
	return sent, received
}
