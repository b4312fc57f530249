package plan

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// What the names of zosnet's interfaces begin with.
const (
	bridgeKind   = "zb"
	entranceKind = "za"
	overlayKind  = "zo"
	workloadKind = "zw"
)

// linkLocalGateway is what every workload has for its default route.
var linkLocalGateway = netip.MustParseAddr("fe80::1")

var nameEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// identity is what an interface's name and MAC are made from. The node is part of
// it, for several nodes may run on one machine.
type identity [sha256.Size]byte

func bridgeIdentity(node, network string) identity {
	return sha256.Sum256([]byte(node + "/" + network))
}

// overlayIdentity is another one for each key: two overlays of a network stand side by
// side while it is being changed.
func overlayIdentity(node, network string, g wireguard.Generation) identity {
	if g == 0 {
		return bridgeIdentity(node, network)
	}
	return sha256.Sum256(fmt.Appendf(nil, "%s/%s/ %d", node, network, g)) // no workload's name has a space
}

func workloadIdentity(node, network, workload string) identity {
	return sha256.Sum256([]byte(node + "/" + network + "/" + workload))
}

// interfaceName gives 15 bytes at most, IFNAMSIZ less its NUL: the kind, up to
// five bytes of a name for people, and 35 bits of the identity.
func (id identity) interfaceName(kind, name string) string {
	return kind + name[:min(len(name), 5)] + "-" + nameEncoding.EncodeToString(id[:5])[:7]
}

// mac gives a unicast, locally administered address (IEEE 802, 8.2.2) from bytes
// that the name does not use.
func (id identity) mac() (m [6]byte) {
	copy(m[:], id[8:])
	m[0] = m[0]&^0x01 | 0x02
	return m
}

// linkLocal gives fe80:: with the modified EUI-64 of a MAC (RFC 4291, appendix A),
// which is what Linux takes with addr_gen_mode eui64.
func linkLocal(mac [6]byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80,
		8: mac[0] ^ 0x02, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}
