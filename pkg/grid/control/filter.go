package control

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/grid"
)

// The filter is an nftables table of a control interface's own. It keeps no state,
// so that it needs nothing of the kernel but nf_tables:
//
//	table inet zosnet_control {
//		set services { type inet_service }
//		chain input {
//			type filter hook input priority filter; policy accept;
//			iifname != "zc-…" accept
//			ip6 saddr & 0:0:0:0:8000:: != :: tcp dport != 2391 drop
//			ip6 saddr & 0:0:0:0:8000:: != :: icmpv6 type >= 5 drop
//			tcp dport @services accept
//			tcp sport @grid tcp flags & (syn | ack) != syn accept
//			icmpv6 type < 5 accept
//			icmpv6 type { echo-request, echo-reply } accept
//			drop
//		}
//		chain forward {
//			type filter hook forward priority filter; policy accept;
//			iifname "zc-…" drop
//			oifname "zc-…" drop
//		}
//	}
//
// A guest reaches the invitation service and nothing else: its address says that it is one,
// and WireGuard that the address is its own. Nothing is forwarded: neither a tenant's packet into the control network nor a
// node's packet through this one.
const (
	filterTable = "zosnet_control"
	tcpFlagSYN  = 0x02
	tcpFlagACK  = 0x10
)

// GridPorts are the TCP ports of the grid's services on control addresses: etcd for
// clients and for members, and invitations.
var GridPorts = []uint16{2379, 2380, grid.ServicePort}

// filter is what the table holds.
type filter struct {
	sets   map[string][]uint16 // TCP ports
	chains []chain
}

type chain struct {
	name  string
	hook  *nftables.ChainHook
	rules [][]expr.Any
}

const servicesSet, gridSet = "services", "grid"

// filterOf gives the filter of the interface called name, at which services are open.
func filterOf(name string, services []uint16) filter {
	in, out := expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME
	return filter{
		sets: map[string][]uint16{servicesSet: services, gridSet: GridPorts},
		chains: []chain{
			{"input", nftables.ChainHookInput, [][]expr.Any{
				slices.Concat(interfaceIs(in, expr.CmpOpNeq, name), verdict(expr.VerdictAccept)),
				slices.Concat(fromGuest(), protocolIs(unix.IPPROTO_TCP), portIsNot(grid.ServicePort), verdict(expr.VerdictDrop)),
				slices.Concat(fromGuest(), protocolIs(unix.IPPROTO_ICMPV6), icmpType(expr.CmpOpGte, 5), verdict(expr.VerdictDrop)),
				slices.Concat(protocolIs(unix.IPPROTO_TCP), portIn(2, servicesSet), verdict(expr.VerdictAccept)),
				slices.Concat(protocolIs(unix.IPPROTO_TCP), portIn(0, gridSet), startsNothing(), verdict(expr.VerdictAccept)),
				slices.Concat(protocolIs(unix.IPPROTO_ICMPV6), icmpType(expr.CmpOpLt, 5), verdict(expr.VerdictAccept)), // errors, RFC 4443
				slices.Concat(protocolIs(unix.IPPROTO_ICMPV6), icmpType(expr.CmpOpEq, 128), verdict(expr.VerdictAccept)),
				slices.Concat(protocolIs(unix.IPPROTO_ICMPV6), icmpType(expr.CmpOpEq, 129), verdict(expr.VerdictAccept)),
				verdict(expr.VerdictDrop),
			}},
			{"forward", nftables.ChainHookForward, [][]expr.Any{
				slices.Concat(interfaceIs(in, expr.CmpOpEq, name), verdict(expr.VerdictDrop)),
				slices.Concat(interfaceIs(out, expr.CmpOpEq, name), verdict(expr.VerdictDrop)),
			}},
		},
	}
}

func interfaceIs(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func protocolIs(number byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{number}}}
}

// portIn looks at the source port (offset 0) or the destination port (offset 2).
func portIn(offset uint32, set string) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set},
	}
}

// fromGuest looks at the byte of the source address that tells guests from nodes. The
// header is IPv6: WireGuard lets through what comes from a peer's AllowedIPs only.
func fromGuest() []expr.Any {
	const source = 8 // bytes into the IPv6 header (RFC 8200, section 3)
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: source + grid.GuestByte, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{grid.GuestBit}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0}},
	}
}

func portIsNot(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	}
}

func startsNothing() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{tcpFlagSYN | tcpFlagACK}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{tcpFlagSYN}},
	}
}

func icmpType(op expr.CmpOp, number byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{number}},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
