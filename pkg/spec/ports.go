package spec

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	expectPorts     = "ports such as tcp/80, udp/1000-2000, sctp/any, icmpv6/echo-request or any"
	expectPort      = "a port from 1 to 65535, a range such as 1000-2000, or any"
	expectICMPv6    = "the name or number (0 to 255) of an ICMPv6 type, or any"
	expectHostPorts = "ports such as tcp/22, udp/1000-2000, sctp/any or any"
)

var protocols = map[string]uint8{"tcp": ProtoTCP, "udp": ProtoUDP, "sctp": ProtoSCTP, "icmpv6": ProtoICMPv6}

// String gives the entry as a document writes it.
func (p Ports) String() string {
	if p.Any {
		return "any"
	}
	name := strconv.Itoa(int(p.Proto))
	for text, proto := range protocols {
		if proto == p.Proto {
			name = text
		}
	}
	switch {
	case p.First == 0 && p.Last == 65535:
		return name + "/any"
	case p.Proto == ProtoICMPv6 && p.First == p.Last && p.First <= 255:
		return name + "/" + ICMPv6TypeName(uint8(p.First))
	case p.First == p.Last:
		return fmt.Sprintf("%s/%d", name, p.First)
	}
	return fmt.Sprintf("%s/%d-%d", name, p.First, p.Last)
}

// ParsePorts reads one entry of a ports list: tcp/80, tcp/any, udp/1000-2000,
// sctp/…, icmpv6/NAME-or-number or any. Its Pos is zero. The error says what
// is possible.
func ParsePorts(text string) (Ports, error) {
	ports, expected := parsePorts(text)
	if expected != "" {
		return Ports{}, fmt.Errorf("read ports: found %s, expected %s", quote(text), expected)
	}
	return ports, nil
}

// parsePorts gives what was expected where the text is not ports.
func parsePorts(text string) (ports Ports, expected string) {
	if text == "any" {
		return Ports{Any: true}, ""
	}
	name, which, _ := strings.Cut(text, "/")
	proto, known := protocols[name]
	switch {
	case !known:
		return ports, expectPorts
	case which == "any":
		return Ports{Proto: proto, Last: 65535}, ""
	case proto == ProtoICMPv6:
		number, ok := ParseICMPv6Type(which)
		if !ok {
			return ports, expectICMPv6
		}
		return Ports{Proto: proto, First: uint16(number), Last: uint16(number)}, ""
	}
	first, last, isRange := strings.Cut(which, "-")
	if !isRange {
		last = first
	}
	ports = Ports{Proto: proto}
	var ok, okToo bool
	ports.First, ok = parsePort(first)
	ports.Last, okToo = parsePort(last)
	switch {
	case !ok || !okToo:
		return ports, expectPort
	case ports.First > ports.Last:
		return ports, fmt.Sprintf("%s/%d-%d, the lower port first", name, ports.Last, ports.First)
	}
	return ports, ""
}

func parsePort(text string) (uint16, bool) {
	if !numberPattern.MatchString(text) {
		return 0, false
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err == nil && port > 0
}

// ports decodes a ports list that says something.
func (v value) ports() []Ports {
	var list []Ports
	for _, item := range v.oneOrMore(expectPorts + "; leave the key out for what is meant without it") {
		if p, ok := item.port(expectPorts); ok {
			list = append(list, p)
		}
	}
	return list
}

// hostPorts decodes the ports of a lockdown opening, for which ICMP has no say.
func (v value) hostPorts() []Ports {
	var list []Ports
	for _, item := range v.oneOrMore(expectHostPorts) {
		p, ok := item.port(expectHostPorts)
		if ok && p.Proto == ProtoICMPv6 {
			item.bad(expectHostPorts)
			continue
		}
		if ok {
			list = append(list, p)
		}
	}
	return list
}

func (v value) port(expected string) (Ports, bool) {
	text, ok := v.text(expected)
	if !ok {
		return Ports{}, false
	}
	p, wrong := parsePorts(text)
	if wrong == expectPorts {
		wrong = expected
	}
	if wrong != "" {
		v.bad(wrong)
		return Ports{}, false
	}
	p.Pos = v.pos()
	return p, true
}
