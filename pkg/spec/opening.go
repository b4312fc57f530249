package spec

import (
	"encoding/base64"
	"fmt"
	"slices"
)

const (
	expectService   = "a service of this network"
	expectEnd       = "one of the network's nodes or its exit, where it ends"
	expectPublicKey = "a WireGuard public key: 32 bytes in base64, as `wg pubkey` prints it"
)

func (n *networkDecoder) decodeAccessList(v value) {
	keys := map[string]string{}
	for _, e := range v.entries() {
		access := n.decodeAccess(e)
		if other, twice := keys[access.PublicKey]; twice && access.PublicKey != "" {
			e.wrong("the public key of "+other, "a key of its own for each device")
		}
		keys[access.PublicKey] = e.path
		n.Access = append(n.Access, access)
	}
}

func (n *networkDecoder) decodeAccess(e entry) Access {
	access := Access{Name: e.name, Pos: e.key.pos()}
	if _, ok := e.key.name(); ok {
		if n.subjects[e.name] == SelectService {
			e.key.wrong("the name of a service", "a name that no service has")
		}
		n.subjects[e.name] = SelectAccess
	}
	hasPorts := false
	e.fields(
		field{"publicKey", expectPublicKey, func(v value) { access.PublicKey, _ = v.publicKey() }},
		field{"ports", "", func(v value) { access.Ports, hasPorts = v.ports(), true }},
		field{"at", "", func(v value) {
			access.At, _ = v.matching(expectEnd, func(s string) bool { return slices.Contains(n.Carriers(), s) })
		}},
		field{"allow", "", func(v value) {
			for _, item := range v.oneOrMore(expectService) {
				if service, ok := n.service(item, hasPorts); ok {
					access.Allow = append(access.Allow, Selector{Kind: SelectService, Name: service, Pos: item.pos()})
				}
			}
		}},
	)
	return access
}

// service decodes the name of a service of this network. Where no ports stand
// beside it the service must have its own, or the opening would be none.
func (n *networkDecoder) service(v value, hasPorts bool) (string, bool) {
	name, ok := v.matching(expectService, func(s string) bool { return n.subjects[s] == SelectService })
	if !ok {
		return "", false
	}
	if n.portless[name] && !hasPorts {
		v.wrong(fmt.Sprintf("the service %s, which has no ports", name), "ports here or at the service")
		return "", false
	}
	return name, true
}

// publicKey decodes a WireGuard public key. All zeros is no key (it would clear
// the peer's). What is no key is not repeated in the error: it could be a
// secret that was pasted into the wrong place.
func (v value) publicKey() (string, bool) {
	text, ok := v.text(expectPublicKey)
	if !ok {
		return "", false
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != 44 || len(key) != 32 || [32]byte(key) == [32]byte{} {
		v.wrong(fmt.Sprintf("text of %d bytes that is no key", len(text)), expectPublicKey)
		return "", false
	}
	return text, true
}

func (n *networkDecoder) decodeExposeList(v value) {
	for _, item := range v.items("a list of {service: NAME, ports: [tcp/443]}") {
		n.Expose = append(n.Expose, n.decodeExpose(item))
	}
}

func (n *networkDecoder) decodeExpose(v value) Expose {
	expose := Expose{Pos: v.pos()}
	hasPorts := false
	v.fields(
		field{"ports", "", func(v value) { expose.Ports, hasPorts = v.ports(), true }},
		field{"service", expectService, func(v value) { expose.Service, _ = n.service(v, hasPorts) }},
		field{"ipv4", "", func(v value) { expose.IPv4 = v.exitAddress() }},
		field{"sni", "", func(v value) {
			for _, item := range v.oneOrMore("one or more host names") {
				if host, ok := item.host(); ok {
					expose.SNI = append(expose.SNI, host)
				}
			}
			if len(expose.SNI) > 0 && expose.IPv4 == "" {
				v.wrong("sni without ipv4", "ipv4 beside it: only the IPv4 proxy sees server names")
			}
		}},
	)
	if expose.IPv4 != "" {
		n.proxied(v, expose)
	}
	return expose
}

// exitAddress decodes where an IPv4 opening is: "auto" or an address.
func (v value) exitAddress() string {
	const expected = "auto or an IPv4 address of an exit"
	text, ok := v.text(expected)
	if !ok || text == "auto" {
		return text
	}
	addr, ok := v.address(expected)
	if ok && !addr.Is4() {
		v.bad(expected)
	}
	return text
}

// proxied refuses ports that the IPv4 proxy cannot carry: it takes TCP and UDP,
// and finds a server name in TCP only.
func (n *networkDecoder) proxied(v value, expose Expose) {
	ports := expose.Ports
	if len(ports) == 0 {
		service, _ := n.Service(expose.Service)
		ports = service.Ports
	}
	for _, p := range ports {
		switch {
		case len(expose.SNI) > 0 && p.Proto != ProtoTCP:
			v.wrong(p.String()+" with sni", "tcp ports")
		case p.Proto != ProtoTCP && p.Proto != ProtoUDP:
			v.wrong(p.String()+" with ipv4", "tcp or udp ports: the proxy carries nothing else")
		}
	}
}
