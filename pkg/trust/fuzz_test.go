package trust_test

import (
	"encoding/json"
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

// Whatever the registry holds, an envelope is refused or is one that its key fits,
// and nobody who lacks the node's key makes one that is believed.
func FuzzDecodeSigned(f *testing.F) {
	ca := must(trust.NewCA(noon))
	g := grid{ca, must(trust.ParseRoots(ca.CertificatePEM()))}
	key, cert := g.node("n1", noon)
	id := must(g.roots.Identity("n1", cert))
	value := must(key.Sign("n1", trust.KindRecord, recordKey, 1, []byte("{}")))
	f.Add(value)
	f.Add([]byte(`{"version":1,"kind":"record","node":"n1","key":"nodes/n1/record","serial":1,"payload":"","signature":"AA=="}`))
	f.Add([]byte(`{"version":1,"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := trust.DecodeSigned(text)
		if err != nil {
			return
		}
		again, err := trust.DecodeSigned(must(json.Marshal(s)))
		if err != nil || again.Key != s.Key || again.Payload != s.Payload || again.Serial != s.Serial {
			t.Fatalf("%+v is read again as %+v, %v", s, again, err)
		}
		if v, err := id.Open(text, trust.KindRecord, recordKey, noon); err == nil && (v.Serial != 1 || string(v.Payload) != "{}") {
			t.Fatalf("believed: %+v", v)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(newToken().Reveal())
	f.Add(trust.TokenPrefix)
	f.Add(trust.TokenPrefix + "AAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := trust.ParseToken(text)
		if err != nil {
			return
		}
		if again, err := trust.ParseToken(token.Reveal()); err != nil || again.Reveal() != token.Reveal() {
			t.Fatalf("%q is taken, what it says is not: %v", text, err)
		}
	})
}

func FuzzDocument(f *testing.F) {
	key := must(trust.NewOwnerKey())
	d := must(key.Sign("acme", 1, "network: acme\n"))
	f.Add(must(json.Marshal(d)))
	f.Add([]byte(`{"owner":"ed25519:","revision":-1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := read(value)
		if err != nil || got.Verify() != nil || got.Owner != key.Owner() {
			return
		}
		if got.Text != d.Text || got.Revision != d.Revision || got.Released {
			t.Fatalf("believed: %+v", got)
		}
	})
}
