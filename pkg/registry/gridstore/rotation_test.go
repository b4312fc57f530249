package gridstore

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestPartInRotation: what a node says of a change of its keys comes to the others as
// it was said, and is gone when it takes it back.
func TestPartInRotation(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	g.publish(n1)
	g.ok(g.apply(n1, must(trust.NewOwnerKey()), "acme", 1, "n1", "n2"))
	at := Part{Prefix: netip.MustParsePrefix("2001:db8:1:1::/64"), PublicKey: "first", Port: 20481}
	changing := at
	changing.Generation, changing.Next, changing.Sends = 1<<32-1, &Successor{0, "second", 20482}, []string{"n2", "n3"}
	after := at
	after.PublicKey, after.Port = "second", 20482
	for _, want := range []Part{at, changing, after} {
		g.ok(n1.PutPart(t.Context(), "acme", want))
		g.until(n2, "the part of n1", func(s Snapshot) bool {
			acme := s.Networks["acme"]
			if acme == nil || acme.Parts["n1"] == nil {
				return false
			}
			is := acme.Parts["n1"]
			sameNext := is.Next == nil && want.Next == nil || is.Next != nil && want.Next != nil && *is.Next == *want.Next
			return is.PublicKey == want.PublicKey && is.Port == want.Port && is.Generation == want.Generation && sameNext && slices.Equal(is.Sends, want.Sends)
		})
	}
}
