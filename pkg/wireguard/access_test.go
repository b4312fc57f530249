package wireguard

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"rsc.io/qr"
)

func alice() Access {
	return Access{
		Network: "acme", Name: "alice", PrivateKey: PrivateKeyOf([keyLength]byte{0: 8, 31: 64}),
		Address: netip.MustParseAddr("2001:db8:aaaa:1::a11c:e"), DNS: []netip.Addr{netip.MustParseAddr("2001:db8:aaaa:1::53")},
		Search: "acme.internal", MTU: 1420, Peer: key('n'), Endpoint: netip.MustParseAddrPort("192.0.2.10:21001"),
		AllowedIPs: prefixes("2001:db8:aaaa:2::/64", "2001:db8:aaaa:1::/64"), Keepalive: 25 * time.Second,
	}
}

// The files are what wg-quick takes; ZOSNET_UPDATE=1 writes them anew.
func TestAccessConfig(t *testing.T) {
	own := alice()
	own.PublicKey, own.PrivateKey = own.PrivateKey.Public(), PrivateKey{}
	bare := alice()
	bare.DNS, bare.Keepalive, bare.Endpoint = nil, 0, netip.MustParseAddrPort("[2001:db8:1::10]:21001")
	for name, access := range map[string]Access{"private": alice(), "public-key": own, "bare": bare, "unfinished": {Network: "acme", Name: "alice", PrivateKey: alice().PrivateKey}} {
		got, err := access.Config()
		if name == "unfinished" && err != nil {
			got, err = access.Unfinished(), nil
		}
		must(t, err)
		path := filepath.Join("testdata", name+".conf")
		if os.Getenv("ZOSNET_UPDATE") != "" {
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
}

func TestAccessRefused(t *testing.T) {
	tests := map[string]struct {
		spoil func(a *Access)
		says  string
	}{
		"a line of its own":    {func(a *Access) { a.Name = "x\nPostUp = reboot" }, "names"},
		"a line in the domain": {func(a *Access) { a.Search = "x\nPostUp = reboot" }, "names"},
		"no key":               {func(a *Access) { a.PrivateKey = PrivateKey{} }, "neither"},
		"no peer":              {func(a *Access) { a.Peer = PublicKey{} }, "no public key"},
		"no address":           {func(a *Access) { a.Address = netip.Addr{} }, "no address"},
		"no endpoint":          {func(a *Access) { a.Endpoint = netip.AddrPort{} }, "no endpoint"},
		"no MTU":               {func(a *Access) { a.MTU = 0 }, "MTU"},
		"no prefix":            {func(a *Access) { a.AllowedIPs = nil }, "no prefix"},
		"not a prefix":         {func(a *Access) { a.AllowedIPs = prefixes("2001:db8::1/64") }, "no prefix"},
	}
	for name, test := range tests {
		a := alice()
		test.spoil(&a)
		text, err := a.Config()
		if err == nil || text != "" || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %q, %v; want an error with %q", name, text, err, test.says)
		}
		if err != nil && len(holds(err.Error(), a.PrivateKey)) > 0 {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

// What is drawn is the code, module by module, in a light border of four.
func TestWriteQR(t *testing.T) {
	text, err := alice().Config()
	must(t, err)
	var drawn bytes.Buffer
	must(t, WriteQR(&drawn, text))
	code, err := qr.Encode(text, qr.L)
	must(t, err)
	lines := strings.Split(strings.TrimSuffix(drawn.String(), "\n"), "\n")
	for row, line := range lines {
		line = strings.TrimSuffix(strings.TrimPrefix(line, whiteOnBlack), plain)
		if n := len([]rune(line)); n != code.Size+2*quiet {
			t.Fatalf("row %d has %d modules, want %d", row, n, code.Size+2*quiet)
		}
		for column, r := range []rune(line) {
			dark := map[rune][2]bool{'█': {false, false}, '▀': {false, true}, '▄': {true, false}, ' ': {true, true}}[r]
			for half := range 2 {
				x, y := column-quiet, 2*row+half-quiet
				if dark[half] != code.Black(x, y) {
					t.Fatalf("module %d,%d is drawn as %q", x, y, r)
				}
			}
		}
	}
	if len(lines) < (code.Size+2*quiet)/2 {
		t.Errorf("%d rows of %d modules", len(lines), code.Size)
	}
	if err := WriteQR(&drawn, strings.Repeat("x", 4000)); err == nil {
		t.Error("4000 bytes were drawn, which no code holds")
	}
}
