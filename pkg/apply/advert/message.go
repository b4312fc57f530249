package advert

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Lifetimes that the advertisements carry.
const (
	// RouterLifetime is the longest that RFC 4861, 6.2.1 allows: advertisements stop
	// while no daemon runs, and the gateway stays.
	RouterLifetime = 9000 * time.Second
	// ValidLifetime and PreferredLifetime are the defaults of RFC 4861, 6.2.1.
	ValidLifetime     = 30 * 24 * time.Hour
	PreferredLifetime = 7 * 24 * time.Hour
)

// hopLimit is what hosts should send with (RFC 4861, 4.2, Cur Hop Limit).
const hopLimit = 64

// Prefix information flags (RFC 4861, 4.6.2): on-link, autonomous.
const onLinkAutonomous = 0x80 | 0x40

// Message gives the ICMPv6 message of an advertisement, from its type on. The
// kernel fills the checksum in, which covers addresses that only it knows. A final
// one ends what earlier ones said (RFC 4861, 6.2.5).
func (n Network) Message(final bool) ([]byte, error) {
	router, valid, preferred := RouterLifetime, ValidLifetime, PreferredLifetime
	if final {
		router, valid, preferred = 0, 0, 0
	}
	advertisement := &layers.ICMPv6RouterAdvertisement{
		HopLimit:       hopLimit,
		RouterLifetime: uint16(router / time.Second),
		Options: layers.ICMPv6Options{
			{Type: layers.ICMPv6OptSourceAddress, Data: n.MAC},
			{Type: layers.ICMPv6OptMTU, Data: mtuOption(n.MTU)},
			{Type: layers.ICMPv6OptPrefixInfo, Data: prefixOption(n.Prefix, valid, preferred)},
		},
	}
	if n.Resolver.IsValid() {
		advertisement.Options = append(advertisement.Options,
			layers.ICMPv6Option{Type: optResolvers, Data: resolverOption(n.Resolver, router)},
			layers.ICMPv6Option{Type: optSearch, Data: searchOption(n.Search, router)})
	}
	buffer := gopacket.NewSerializeBuffer()
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, icmp, advertisement)
	if err != nil {
		return nil, fmt.Errorf("build router advertisement: %w", err)
	}
	return buffer.Bytes(), nil
}

// mtuOption is the body of RFC 4861, 4.6.4.
func mtuOption(mtu uint16) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 2, 6), uint32(mtu))
}

// prefixOption is the body of RFC 4861, 4.6.2.
func prefixOption(prefix netip.Prefix, valid, preferred time.Duration) []byte {
	body := []byte{byte(prefix.Bits()), onLinkAutonomous}
	body = binary.BigEndian.AppendUint32(body, uint32(valid/time.Second))
	body = binary.BigEndian.AppendUint32(body, uint32(preferred/time.Second))
	body = append(body, 0, 0, 0, 0)
	return append(body, prefix.Masked().Addr().AsSlice()...)
}

// Options of RFC 8106.
const (
	optResolvers layers.ICMPv6Opt = 25
	optSearch    layers.ICMPv6Opt = 31
)

// resolverOption is the body of RFC 8106, 5.1.
func resolverOption(resolver netip.Addr, lifetime time.Duration) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 2, 22), uint32(lifetime/time.Second)), resolver.AsSlice()...)
}

// searchOption is the body of RFC 8106, 5.2: the domain as RFC 1035, 3.1 encodes it,
// and zeros up to a multiple of eight bytes with type and length.
func searchOption(domain string, lifetime time.Duration) []byte {
	body := binary.BigEndian.AppendUint32(make([]byte, 2), uint32(lifetime/time.Second))
	for label := range strings.SplitSeq(domain, ".") {
		body = append(append(body, byte(len(label))), label...)
	}
	body = append(body, 0)
	return append(body, make([]byte, (8-(len(body)+2)%8)%8)...)
}

// Network is what a router advertises, and where.
type Network struct {
	Interface string // the bridge
	Index     int    // its interface index
	MAC       net.HardwareAddr
	Router    netip.Addr   // link-local source of the advertisements, an address of the bridge
	Prefix    netip.Prefix // a /64
	MTU       uint16       // bytes
	Resolver  netip.Addr   // the zero Addr: none
	Search    string       // domain that names without a dot are looked for in
}

// Equal tells whether two advertisements say the same at the same place.
func (n Network) Equal(o Network) bool {
	return n.Interface == o.Interface && n.Index == o.Index && bytes.Equal(n.MAC, o.MAC) &&
		n.Router == o.Router && n.Prefix == o.Prefix && n.MTU == o.MTU && n.Resolver == o.Resolver && n.Search == o.Search
}
