package trust_test

import (
	"crypto/ecdh"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/trust"
)

var inviter = trust.TokenAddress{
	CA: trust.Fingerprint{9}, ControlKey: trust.ControlKey{8},
	Service:   netip.MustParseAddrPort("[fd5a:1::1]:4791"),
	Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.10:51820"), netip.MustParseAddrPort("[2001:db8::10]:51820")},
}

func newToken() *trust.Token { return must(trust.NewToken(inviter, noon.Add(time.Hour))) }

func TestTokenText(t *testing.T) {
	token := newToken()
	text := token.Reveal()
	if !strings.HasPrefix(text, "zosnet-join-1:") || len(text) > 260 || strings.ContainsAny(text, " \n'\"$&|<>") {
		t.Errorf("a token of %d characters that a shell or a line would break", len(text))
	}
	wrapped := "  " + text[:70] + "\n" + text[70:140] + "\r\n\t" + text[140:] + "\n"
	for _, form := range []string{text, wrapped} {
		got, err := trust.ParseToken(form)
		if err != nil {
			t.Fatal(err)
		}
		if got.Reveal() != text || got.ID() != token.ID() || got.Secret() != token.Secret() || !got.Expires.Equal(token.Expires) ||
			got.PeerPrivateKey() != token.PeerPrivateKey() || got.Service != inviter.Service || len(got.Endpoints) != 2 || got.CA != inviter.CA {
			t.Error("what was read is not what was written")
		}
	}
	private := must(ecdh.X25519().NewPrivateKey(sliceOf(token.PeerPrivateKey())))
	if trust.ControlKey(private.PublicKey().Bytes()) != token.PeerPublicKey() {
		t.Error("the two halves of the peer's key do not belong together")
	}
	if other := newToken(); other.ID() == token.ID() || other.Secret() == token.Secret() || other.PeerPublicKey() == token.PeerPublicKey() {
		t.Error("two tokens share something")
	}
}

func sliceOf(b [32]byte) []byte { return b[:] }

func TestTokenTextRefuses(t *testing.T) {
	text := newToken().Reveal()
	tests := map[string]string{
		"nothing":            "",
		"another text":       "hello",
		"a later format":     strings.Replace(text, "-1:", "-2:", 1),
		"without its prefix": strings.TrimPrefix(text, trust.TokenPrefix),
		"only its prefix":    trust.TokenPrefix,
		"cut off":            text[:len(text)-1],
		"cut in half":        text[:len(text)/2],
		"twice":              text + text,
		"one more":           text + "A",
	}
	for name, bad := range tests {
		_, err := trust.ParseToken(bad)
		t.Run(name, func(t *testing.T) { refused(t, err, trust.ErrMalformed) })
	}
	for i := len(trust.TokenPrefix); i < len(text); i++ {
		wrong := "A"
		if text[i] == 'A' {
			wrong = "B"
		}
		if _, err := trust.ParseToken(text[:i] + wrong + text[i+1:]); err == nil {
			t.Fatalf("a wrong character at %d is not noticed", i)
		} else if strings.Contains(err.Error(), text[20:40]) {
			t.Fatal("the error repeats the token")
		}
	}
}

func TestTokenNeedsAWayIn(t *testing.T) {
	tests := map[string]func(a *trust.TokenAddress){
		"no endpoint":             func(a *trust.TokenAddress) { a.Endpoints = nil },
		"nine endpoints":          func(a *trust.TokenAddress) { a.Endpoints = make([]netip.AddrPort, 9) },
		"an endpoint of port 0":   func(a *trust.TokenAddress) { a.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")} },
		"an endpoint of anywhere": func(a *trust.TokenAddress) { a.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:5")} },
		"an IPv4 service":         func(a *trust.TokenAddress) { a.Service = netip.MustParseAddrPort("192.0.2.1:5") },
		"no fingerprint":          func(a *trust.TokenAddress) { a.CA = trust.Fingerprint{} },
		"no control key":          func(a *trust.TokenAddress) { a.ControlKey = trust.ControlKey{} },
	}
	for name, change := range tests {
		a := inviter
		change(&a)
		_, err := trust.NewToken(a, noon)
		t.Run(name, func(t *testing.T) { refused(t, err, trust.ErrMalformed) })
	}
}

// Every token that can be made is read as what it was.
func TestTokenProperty(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "IPv4") {
			addr = netip.AddrFrom4([4]byte{192, 0, 2, rapid.Byte().Draw(t, "host")})
		} else {
			addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: rapid.Byte().Draw(t, "host")})
		}
		return netip.AddrPortFrom(addr, rapid.Uint16Min(1).Draw(t, "port"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a := inviter
		a.Endpoints = rapid.SliceOfN(address, 1, 8).Draw(t, "endpoints")
		token, err := trust.NewToken(a, time.Unix(rapid.Int64Range(1, 1<<38).Draw(t, "expires"), 0))
		if err != nil {
			t.Fatal(err)
		}
		got, err := trust.ParseToken(token.Reveal())
		if err != nil || got.Reveal() != token.Reveal() || !got.Expires.Equal(token.Expires) || len(got.Endpoints) != len(a.Endpoints) {
			t.Fatalf("%v: got %v, %v", a, got, err)
		}
		for i, e := range a.Endpoints {
			if got.Endpoints[i] != e {
				t.Fatalf("endpoint %d: %v is read as %v", i, e, got.Endpoints[i])
			}
		}
	})
}

func TestPendingToken(t *testing.T) {
	request := func(node string) *trust.Request {
		return must(trust.ParseRequest(must(must(trust.NewNodeKey()).Request(node, control))))
	}
	token, n2 := newToken(), request("n2")
	fresh := token.Pending()
	used := fresh.Use(n2, noon)
	tests := []struct {
		name    string
		pending *trust.PendingToken
		secret  string
		by      *trust.Request
		at      time.Duration
		again   bool
		want    error
	}{
		{"good", &fresh, token.Secret(), n2, 0, false, nil},
		{"in the last second", &fresh, token.Secret(), n2, time.Hour - time.Second, false, nil},
		{"expired", &fresh, token.Secret(), n2, time.Hour, false, trust.ErrToken},
		{"unknown", nil, token.Secret(), n2, 0, false, trust.ErrToken},
		{"another token's secret", &fresh, newToken().Secret(), n2, 0, false, trust.ErrToken},
		{"no secret", &fresh, "", n2, 0, false, trust.ErrToken},
		{"its hash as the secret", &fresh, string(fresh.Hash), n2, 0, false, trust.ErrToken},
		{"used, by another node", &used, token.Secret(), request("n3"), 0, false, trust.ErrToken},
		{"used, by the same name with another key", &used, token.Secret(), request("n2"), 0, false, trust.ErrToken},
		{"used, by the same node, whose answer was lost", &used, token.Secret(), n2, 0, true, nil},
		{"used, by the same node, expired since", &used, token.Secret(), n2, 2 * time.Hour, false, trust.ErrToken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pending := test.pending
			if pending != nil {
				pending = new(trust.PendingToken)
				if err := json.Unmarshal(must(json.Marshal(test.pending)), pending); err != nil {
					t.Fatal(err)
				}
			}
			again, err := pending.Check(test.secret, test.by, noon.Add(test.at))
			refused(t, err, test.want)
			if again != test.again {
				t.Errorf("again: %v", again)
			}
			if test.want != nil && err != trust.ErrToken { //nolint:errorlint // every refusal is the same, to the letter
				t.Errorf("this refusal differs from others: %v", err)
			}
		})
	}
}
