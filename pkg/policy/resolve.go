package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// resolve gives the endpoints that a name means: one for an address, one for each
// address of a workload or of a service's workloads. A service or workload
// without an address here gives one endpoint that has none.
func (w *World) resolve(name string) ([]Endpoint, error) {
	if address, err := netip.ParseAddr(name); err == nil {
		e, err := w.stranger(address)
		return []Endpoint{e}, err
	}
	network, part, ok := strings.Cut(name, "/")
	if !ok {
		return nil, fmt.Errorf("trace: %q is neither an address nor NETWORK/SERVICE, NETWORK/WORKLOAD or NETWORK/ACCESS", name)
	}
	n, ok := w.Network(network)
	if !ok {
		return nil, fmt.Errorf("trace: there is no network %q here; `zosnet network ls` lists them", network)
	}
	endpoint := Endpoint{Network: network}
	if _, isService := n.Document.Service(part); isService {
		endpoint.Service = part
	}
	for _, p := range w.Ports {
		if p.Network == network && p.Workload == part {
			endpoint.Service, endpoint.Workload = p.Service, p.Workload
		}
	}
	if _, isDevice := n.Document.Device(part); isDevice {
		endpoint.Access = part
	}
	for _, b := range w.Bindings { // on other nodes
		if b.Network == network && b.Workload == part {
			endpoint.Service, endpoint.Workload = b.Service, b.Workload
		}
	}
	if endpoint.Service == "" && endpoint.Access == "" {
		return nil, fmt.Errorf("trace: network %s has no service, workload or access device %q here; `zosnet network show %s` lists them",
			network, part, network)
	}
	var list []Endpoint
	for _, b := range w.Bindings {
		sameWorkload := endpoint.Workload == "" || b.Workload == endpoint.Workload
		if b.Network == network && b.Service == endpoint.Service && b.Access == endpoint.Access && sameWorkload && !isLinkLocal(b.Address) {
			list = append(list, b.endpoint())
		}
	}
	if list == nil {
		list = []Endpoint{endpoint}
	}
	return list, nil
}

// stranger gives the endpoint behind an address: a workload's, or somebody's
// outside.
func (w *World) stranger(address netip.Addr) (Endpoint, error) {
	switch {
	case address.Zone() != "" || isLinkLocal(address):
		return Endpoint{}, fmt.Errorf("trace: %s means something on its own link only; name the workload", address)
	case address.Unmap().Is4():
		return Endpoint{}, fmt.Errorf("trace: networks are IPv6 only inside, so no packet of %s reaches one; give an IPv6 address", address)
	}
	if b, ok := w.Binding(address, ""); ok {
		return b.endpoint(), nil
	}
	return Endpoint{Address: address}, nil
}

// gatewayAnswers says whether a network's gateway answers an end's ping: to a workload of
// this node under each of its addresses, to an access device that ends here under one.
func (w *World) gatewayAnswers(n Network, from Endpoint, address netip.Addr) bool {
	o, remote := w.overlayTo(from)
	if remote {
		return o.Entrance && address == n.Gateway
	}
	return from.Access == ""
}

// withoutRules gives what is decided before any rule is asked. None means that
// the packet is let through without rules.
func (w *World) withoutRules(from, to Endpoint, q Query) (reason Reason, decided bool) {
	if isMulticast(to.Address) {
		return Multicast, true
	}
	if q.Proto == protoICMPv6 && (q.Port == icmpEchoReply || q.Port == icmpNodeInfoReply) {
		return ICMPNoQuery, true
	}
	if n, ok := w.Network(from.Network); ok && n.isGateway(to.Address) {
		if q.Proto == protoICMPv6 && q.Port == icmpEchoRequest && w.gatewayAnswers(n, from, to.Address) {
			return None, true
		}
		return Host, true
	}
	if from.Network == "" && w.outsideSpace(from.Address) != None {
		return UnknownIdentity, true
	}
	if _, remote := w.overlayTo(to); remote && from.Network != "" && from.Network != to.Network {
		return NoRoute, true
	}
	if to.Network == "" && w.outsideSpace(to.Address) != None {
		return w.outsideSpace(to.Address), true
	}
	return None, false
}
