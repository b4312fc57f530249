package spec

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Where a node keeps its state unless its document says otherwise.
const (
	DefaultStateDir = "/var/lib/zosnet"
	DefaultRunDir   = "/run/zosnet"
	DefaultBPFFS    = "/sys/fs/bpf/zosnet"
)

const (
	expectUnderlay = "auto, dc-ipv4, dc-dual, home-ipv4 or home-ipv6"
	expectEndpoint = "the URL of an etcd endpoint: https://, then HOST:PORT, and nothing else"
)

// DecodeNode decodes and validates a node.yaml. The name of the file is only
// for the places in errors. An error is of type Errors and lists every problem.
func DecodeNode(file string, data []byte) (*Node, error) {
	d := &document{file: file, where: Where{}}
	n := &Node{
		Underlay: UnderlayAuto,
		StateDir: DefaultStateDir, RunDir: DefaultRunDir, BPFFS: DefaultBPFFS,
		Where: d.where,
	}
	if top, ok := d.root(data); ok {
		n.decode(top)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Node) decode(top value) {
	n.Pos = top.pos()
	top.fields(
		field{"node", expectName, func(v value) { n.Name, _ = v.name() }},
		field{"uplinks", "", func(v value) {
			n.Uplinks = v.distinct("a list of interfaces", value.link)
		}},
		field{"underlay", "", n.decodeUnderlay},
		field{"endpoint", "", func(v value) { n.Endpoint, _ = v.address(expectAddress) }},
		field{"exit", "", n.decodeExit},
		field{"prefixes", "", func(v value) { n.Prefixes = v.prefixes() }},
		field{"dns", "", n.decodeDNS},
		field{"exitPoint", "", n.decodeExitPoint},
		field{"lockdown", "", n.decodeLockdown},
		field{"accept", "", n.decodeAccept},
		field{"registry", "", n.decodeRegistry},
		field{"stateDir", "", func(v value) { v.absolute(&n.StateDir) }},
		field{"runDir", "", n.decodeRunDir},
		field{"bpffs", "", func(v value) { v.absolute(&n.BPFFS) }},
	)
	if n.StateDir == n.RunDir || n.StateDir == n.BPFFS || n.RunDir == n.BPFFS {
		top.wrong("one directory used twice", "stateDir, runDir and bpffs to differ")
	}
}

func (n *Node) decodeUnderlay(v value) {
	text, _ := v.matching(expectUnderlay, func(s string) bool {
		return slices.Contains([]Underlay{UnderlayAuto, UnderlayDCIPv4, UnderlayDCDual, UnderlayHomeIPv4,
			UnderlayHomeIPv6}, Underlay(s))
	})
	n.Underlay = Underlay(text)
}

func (n *Node) decodeExit(v value) {
	n.Exit, _ = v.matching("the name of a node, or auto", func(s string) bool {
		return s == "auto" || ValidName(s)
	})
}

func (n *Node) decodeDNS(v value) {
	v.distinct("a list of IPv6 addresses", func(item value) (string, bool) {
		addr, ok := item.address(expectIPv6)
		if ok && !addr.Is6() {
			item.bad(expectIPv6)
			ok = false
		}
		if ok {
			n.DNS = append(n.DNS, addr)
		}
		return addr.String(), ok
	})
}

func (n *Node) decodeExitPoint(v value) {
	n.ExitPoint = &ExitPoint{Pos: v.pos()}
	v.fields(
		field{"tunnels", "", func(v value) { n.ExitPoint.Tunnels = v.flag() }},
		field{"ipv4", "", func(v value) {
			v.distinct("a list of IPv4 addresses", func(item value) (string, bool) {
				addr, ok := item.address4()
				if ok {
					n.ExitPoint.IPv4 = append(n.ExitPoint.IPv4, addr)
				}
				return addr.String(), ok
			})
		}},
	)
}

func (n *Node) decodeLockdown(v value) {
	v.fields(field{"allow", "", func(v value) {
		for _, item := range v.items("a list of {from: CIDR, ports: [tcp/22]}") {
			n.Lockdown.Allow = append(n.Lockdown.Allow, decodeLockdownAllow(item))
		}
		if count := len(n.Lockdown.Allow); count > MaxRules {
			v.wrong(fmt.Sprintf("%d entries", count), fmt.Sprintf("at most %d", MaxRules))
		}
	}})
}

func decodeLockdownAllow(v value) LockdownAllow {
	allow := LockdownAllow{Pos: v.pos()}
	v.fields(
		field{"from", expectCIDR, func(v value) {
			var ok bool
			if allow.From, ok = v.cidr(expectCIDR); !ok {
				allow.From = netip.Prefix{}
			}
		}},
		field{"ports", expectHostPorts, func(v value) { allow.Ports = v.hostPorts() }},
	)
	return allow
}

func (n *Node) decodeRegistry(v value) {
	n.Registry.Pos = v.pos()
	r := &n.Registry
	endpoints, files := false, 0 // that are given, right or wrong
	file := func(into *string) func(value) {
		return func(v value) { files++; v.absolute(into) }
	}
	v.fields(
		field{"endpoints", "", func(v value) {
			endpoints = len(v.node.Content) > 0
			r.Endpoints = v.distinct("a list of URLs", value.endpoint)
		}},
		field{"ca", "", file(&r.CA)},
		field{"certificate", "", file(&r.Cert)},
		field{"key", "", file(&r.Key)},
	)
	switch {
	case endpoints && files < 3:
		v.wrong("endpoints without all of ca, certificate and key", "the files by which the node and that etcd know each other")
	case !endpoints && files > 0:
		v.wrong("files without endpoints", "the etcd that they are for, or none of them")
	}
}

var endpointPattern = regexp.MustCompile(`^https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$`)

// endpoint decodes a URL. One that may hold a password is not repeated in the
// error, which ends up in logs.
func (v value) endpoint() (string, bool) {
	text, ok := v.text(expectEndpoint)
	switch {
	case ok && strings.Contains(text, "@"):
		v.wrong("a URL with a user or a password", expectEndpoint)
		return "", false
	case ok && !isEndpoint(text):
		v.bad(expectEndpoint)
		return "", false
	}
	return text, ok
}

// isEndpoint says whether the text is a URL of scheme, host and port only.
func isEndpoint(s string) bool {
	parts := endpointPattern.FindStringSubmatch(s)
	if parts == nil {
		return false
	}
	if literal, ok := strings.CutPrefix(parts[1], "["); ok {
		if _, err := netip.ParseAddr(strings.TrimSuffix(literal, "]")); err != nil {
			return false
		}
	}
	_, ok := parsePort(parts[2])
	return ok
}

func (n *Node) decodeRunDir(v value) {
	v.absolute(&n.RunDir)
	if length := len(n.RunDir); length > maxRunDir {
		v.wrong(fmt.Sprintf("a path of %d bytes", length),
			fmt.Sprintf("at most %d, since a unix socket in it can have 107", maxRunDir))
	}
}
