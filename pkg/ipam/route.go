package ipam

import (
	"fmt"
	"net/netip"
	"strings"
)

// Route is what an upstream needs to know of one block.
type Route struct {
	Block   netip.Prefix
	Node    string     // that has the block
	NextHop netip.Addr // the node's address on the way there
}

// Routes gives one route a block, ascending. A block whose node has no next hop is
// an error that names the node.
func Routes(blocks map[netip.Prefix]string, nextHops map[string]netip.Addr) ([]Route, error) {
	routes := make([]Route, 0, len(blocks))
	for _, block := range sortedPrefixes(blocks) {
		node := blocks[block]
		hop := nextHops[node]
		if !IsNextHop(hop) {
			return nil, fmt.Errorf("route %s to node %s: no global IPv6 address is known that leads to it", block, node)
		}
		routes = append(routes, Route{Block: block, Node: node, NextHop: hop})
	}
	return routes, nil
}

// IsNextHop tells whether an address can be that of a Route: a global IPv6 one, without
// a zone.
func IsNextHop(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.IsGlobalUnicast() && a.Zone() == ""
}

// The formats that WriteRoutes knows.
const (
	FormatIproute2 = "iproute2" // commands for ip(8)
	FormatBIRD     = "bird"     // a static protocol of BIRD 2, to be included
	FormatFRR      = "frr"      // lines of FRR's configuration
)

var routeLine = map[string]string{
	FormatIproute2: "ip -6 route replace %[1]s via %[2]s # %[3]s\n",
	FormatBIRD:     "\troute %[1]s via %[2]s; # %[3]s\n",
	FormatFRR:      "! %[3]s\nipv6 route %[1]s %[2]s\n",
}

// RouteFormats lists the formats.
func RouteFormats() []string { return []string{FormatIproute2, FormatBIRD, FormatFRR} }

// WriteRoutes gives routes as the configuration of an upstream's router. Each line
// names its node in a comment.
func WriteRoutes(format string, routes []Route) (string, error) {
	line, known := routeLine[format]
	if !known {
		return "", fmt.Errorf("routes in the format %q: want one of %s", format, strings.Join(RouteFormats(), ", "))
	}
	var b strings.Builder
	if format == FormatBIRD {
		b.WriteString("protocol static zosnet {\n\tipv6;\n")
	}
	for _, r := range routes {
		fmt.Fprintf(&b, line, r.Block, r.NextHop, r.Node)
	}
	if format == FormatBIRD {
		b.WriteString("}\n")
	}
	return b.String(), nil
}
