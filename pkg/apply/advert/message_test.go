package advert

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var acme = Network{
	Interface: "br0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Router: netip.MustParseAddr("fe80::1"),
	Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"), MTU: 1420,
	Resolver: netip.MustParseAddr("2001:db8:aaaa:1::53"), Search: "acme.internal",
}

// TestMessage reads the advertisement as a host does (RFC 4861, 4.2 and 4.6).
func TestMessage(t *testing.T) {
	for _, c := range []struct {
		name                     string
		final                    bool
		router, valid, preferred time.Duration
	}{
		{"while the network is there", false, 9000 * time.Second, 30 * 24 * time.Hour, 7 * 24 * time.Hour},
		{"the last one", true, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			message, err := acme.Message(c.final)
			if err != nil {
				t.Fatal(err)
			}
			packet := gopacket.NewPacket(message, layers.LayerTypeICMPv6, gopacket.Default)
			if packet.ErrorLayer() != nil {
				t.Fatal(packet.ErrorLayer().Error())
			}
			ra, ok := packet.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
			if !ok {
				t.Fatalf("no router advertisement: %v", packet)
			}
			if ra.HopLimit != 64 || ra.Flags != 0 || time.Duration(ra.RouterLifetime)*time.Second != c.router {
				t.Errorf("header is %+v", ra)
			}
			options := map[layers.ICMPv6Opt][]byte{}
			for _, o := range ra.Options {
				options[o.Type] = o.Data
			}
			if got := net.HardwareAddr(options[layers.ICMPv6OptSourceAddress]); got.String() != acme.MAC.String() {
				t.Errorf("source link-layer address is %s", got)
			}
			if mtu := options[layers.ICMPv6OptMTU]; binary.BigEndian.Uint32(mtu[2:]) != 1420 {
				t.Errorf("MTU is % x", mtu)
			}
			prefix := options[layers.ICMPv6OptPrefixInfo]
			seconds := func(at int) time.Duration {
				return time.Duration(binary.BigEndian.Uint32(prefix[at:])) * time.Second
			}
			if prefix[0] != 64 || prefix[1] != 0xc0 || seconds(2) != c.valid || seconds(6) != c.preferred ||
				netip.AddrFrom16([16]byte(prefix[14:])) != acme.Prefix.Addr() {
				t.Errorf("prefix information is % x", prefix)
			}
			lifetime := fmt.Sprintf("0000%08x", int(c.router/time.Second))
			if got, want := hex.EncodeToString(options[25]), lifetime+"20010db8aaaa00010000000000000053"; got != want {
				t.Errorf("recursive DNS server is %s, want %s", got, want)
			}
			const search = "0461636d6508696e7465726e616c00" + "00" // 4 acme 8 internal 0, and a zero to fill up
			if got, want := hex.EncodeToString(options[31]), lifetime+search; got != want {
				t.Errorf("DNS search list is %s, want %s", got, want)
			}
		})
	}
}

// TestMessageWithoutResolver: a network without one says nothing of names.
func TestMessageWithoutResolver(t *testing.T) {
	n := acme
	n.Resolver = netip.Addr{}
	with, err := acme.Message(false)
	if err != nil {
		t.Fatal(err)
	}
	without, err := n.Message(false)
	if err != nil {
		t.Fatal(err)
	}
	if len(with)-len(without) != 24+24 || n.Equal(acme) {
		t.Errorf("%d bytes with a resolver, %d without", len(with), len(without))
	}
}

// TestInterval: three in quick succession, then at the intervals of RFC 4861, 6.2.4.
func TestInterval(t *testing.T) {
	for _, c := range []struct {
		sent   int
		chance float64
		want   time.Duration
	}{
		{1, 0, 16 * time.Second},
		{2, 0.9, 16 * time.Second},
		{3, 0, 200 * time.Second},
		{3, 0.5, 400 * time.Second},
		{100, 0.999999999, 600 * time.Second},
	} {
		if got := interval(c.sent, c.chance).Round(time.Second); got != c.want {
			t.Errorf("after %d, by chance %v: %v, want %v", c.sent, c.chance, got, c.want)
		}
	}
}

func TestAnswerTo(t *testing.T) {
	for host, want := range map[string]string{
		"::": "ff02::1", "fe80::5": "fe80::5", "fe80::5%7": "fe80::5", "2001:db8::5": "2001:db8::5",
	} {
		if got := answerTo(netip.MustParseAddr(host)); got.String() != want {
			t.Errorf("%s is answered at %s, want %s", host, got, want)
		}
	}
}

// TestWellFormed: what is heard and what is not (RFC 4861, 6.1.1).
func TestWellFormed(t *testing.T) {
	solicitation := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	with := func(tail ...byte) []byte { return append(append([]byte(nil), solicitation...), tail...) }
	for _, c := range []struct {
		name    string
		message []byte
		want    bool
	}{
		{"bare", solicitation, true},
		{"with a source link-layer address", with(1, 1, 2, 0, 0, 0, 0, 1), true},
		{"with an unknown option", with(200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), true},
		{"too short", solicitation[:7], false},
		{"of another code", []byte{133, 1, 0, 0, 0, 0, 0, 0}, false},
		{"an option of no length", with(1, 0, 0, 0, 0, 0, 0, 0), false},
		{"an option that ends behind the message", with(1, 2, 0, 0, 0, 0, 0, 0), false},
		{"half an option", with(1), false},
	} {
		if got := wellFormed(c.message); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
