package wireguard

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	good := device(peer('a', "1"), peer('b', "2"))
	must(t, good.Check())
	tests := map[string]struct {
		change func(d *Device)
		says   string
	}{
		"long name":           {func(d *Device) { d.Name = "sixteen-letters-" }, "16 bytes"},
		"no key":              {func(d *Device) { d.PrivateKey = PrivateKey{} }, "no private key"},
		"no port":             {func(d *Device) { d.ListenPort = 0 }, "no listen port"},
		"small MTU":           {func(d *Device) { d.MTU = 1279 }, "MTU is 1279"},
		"no public key":       {func(d *Device) { d.Peers[0].PublicKey = PublicKey{} }, "no public key"},
		"itself":              {func(d *Device) { d.Peers[0].PublicKey = own.Public() }, "the device itself"},
		"twice":               {func(d *Device) { d.Peers[1] = d.Peers[0] }, "there twice"},
		"a zone":              {func(d *Device) { d.Peers[0].Endpoint = netip.MustParseAddrPort("[fe80::1%x]:1") }, "has a zone"},
		"half a second":       {func(d *Device) { d.Peers[0].Keepalive = time.Second / 2 }, "whole number of seconds"},
		"overlap":             {func(d *Device) { d.Peers[1].AllowedIPs = d.Peers[0].AllowedIPs }, "overlaps"},
		"bits outside a mask": {func(d *Device) { d.Peers[1].AllowedIPs = prefixes("2001:db8::1/64") }, "no prefix"},
	}
	for name, test := range tests {
		d := device(peer('a', "1"), peer('b', "2"))
		test.change(&d)
		if err := d.Check(); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v; want an error with %q", name, err, test.says)
		}
	}
}

func TestCheckAllowedIPs(t *testing.T) {
	tests := map[string]struct {
		a, b, c []netip.Prefix
		overlap []string // the pairs, "outer inner"
	}{
		"apart":                       {prefixes("2001:db8:0:1::/64"), prefixes("2001:db8:0:2::/64"), prefixes("192.0.2.0/24"), nil},
		"the same":                    {prefixes("2001:db8:0:1::/64"), prefixes("2001:db8:0:1::/64"), nil, []string{"2001:db8:0:1::/64 2001:db8:0:1::/64"}},
		"one within the other":        {prefixes("2001:db8:0:1::/64"), prefixes("2001:db8::/56"), nil, []string{"2001:db8::/56 2001:db8:0:1::/64"}},
		"behind one that is apart":    {prefixes("2001:db8::/48", "2001:db8:0:1::/64"), prefixes("2001:db8:0:9::/64"), nil, []string{"2001:db8::/48 2001:db8:0:9::/64"}},
		"all three":                   {prefixes("2001:db8::/48"), prefixes("2001:db8::/56"), prefixes("2001:db8::/64"), []string{"2001:db8::/48 2001:db8::/56", "2001:db8::/56 2001:db8::/64"}},
		"an exit's default route":     {prefixes("::/0"), prefixes("2001:db8:0:1::/64"), prefixes("2001:db8:0:2::/64"), nil},
		"two exits":                   {prefixes("::/0"), prefixes("::/0"), nil, []string{"::/0 ::/0"}},
		"default routes of two kinds": {prefixes("::/0"), prefixes("0.0.0.0/0"), nil, nil},
		"within one's own":            {prefixes("2001:db8::/48", "2001:db8:0:1::/64", "2001:db8:0:1::/64"), nil, nil, nil},
	}
	for name, test := range tests {
		err := CheckAllowedIPs([]Peer{{PublicKey: key('a'), AllowedIPs: test.a}, {PublicKey: key('b'), AllowedIPs: test.b}, {PublicKey: key('c'), AllowedIPs: test.c}})
		var got []string
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				var overlap *OverlapError
				if errors.As(e, &overlap) {
					got = append(got, overlap.Prefix.String()+" "+overlap.Other.String())
				}
			}
		}
		if d := cmp.Diff(test.overlap, got); d != "" {
			t.Errorf("%s: (-want +got)\n%s", name, d)
		}
	}
}
