// Package lab makes whole machines out of network namespaces and runs the
// real zosnet daemon in one of them (Lab):
//
//	outside ── router ── node
//
// or in several that become a grid (Grid):
//
//	outside ─┬─ Internet ─┬─ home router with NAT ── n3
//	   n1 ───┤            └─ home router with NAT ── laptop
//	   n2 ───┘
//
// The demo, the end-to-end tests and `zosnet lab` all stand on it. It drives
// the daemon only through its command line, the way a person would, and must
// not know anything of the daemon's insides. Nothing it does touches an
// interface, address, route or sysctl of the machine it runs on.
package lab

import (
	"context"
	"net/netip"
)

// Dir is where labs keep what they must remember: a directory a lab.
const Dir = "/run/zosnet-lab"

// The addresses of the standard topology. Documentation prefixes: RFC 5737
// and RFC 3849.
var (
	NodeIPv4      = netip.MustParseAddr("192.0.2.10")
	NodeIPv6      = netip.MustParseAddr("2001:db8:1::10")
	RouterIPv4    = netip.MustParseAddr("192.0.2.1") // on the node's segment
	RouterIPv6    = netip.MustParseAddr("2001:db8:1::1")
	LANIPv4       = netip.MustParseAddr("192.0.2.20")
	LANIPv6       = netip.MustParseAddr("2001:db8:1::20")
	OutsideIPv4   = netip.MustParseAddr("198.51.100.2")
	OutsideIPv6   = netip.MustParseAddr("2001:db8:2::2")
	FriendIPv4    = netip.MustParseAddr("198.51.100.3")
	FriendIPv6    = netip.MustParseAddr("2001:db8:2::3")
	farRouterIPv4 = netip.MustParseAddr("198.51.100.1") // on the outside segment
	farRouterIPv6 = netip.MustParseAddr("2001:db8:2::1")

	// Allocation is the prefix that the node holds; the router sends it to
	// NodeIPv6.
	Allocation = netip.MustParsePrefix("2001:db8:aaaa::/48")
)

// Config says which lab to make.
type Config struct {
	Name   string // [a-z][a-z0-9-]{0,19}, unique on the machine
	Zosnet string // path of the zosnet binary; needed by StartDaemon only
	Friend bool   // a second host on the outside segment
	LAN    bool   // a host on the node's own segment, which is then a bridge
	Keep   bool   // outlives this process; Remove ends it

	// NodeDocument is appended to the node.yaml that StartDaemon writes:
	// top-level keys that it does not write itself, such as lockdown.
	NodeDocument string
}

// Lab is a set of machines wired together. Its methods are safe for
// concurrent use, except Close.
type Lab struct {
	Outside *Machine
	Friend  *Machine // nil unless asked for
	LAN     *Machine // nil unless asked for
	Router  *Machine
	Node    *Machine

	site
	config Config
	daemon *Daemon
}

// New makes the lab and waits until its machines reach their routers. It
// waits for another process that has a lab of the same name, within ctx, and
// removes one that a killed process left behind. On error nothing is left.
func New(ctx context.Context, config Config) (*Lab, error) {
	l := &Lab{site: site{name: config.Name, keep: config.Keep, zosnet: config.Zosnet}, config: config}
	if err := l.open(ctx, l.roles(), l.wire); err != nil {
		return nil, err
	}
	return l, nil
}
