package trust_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// All that a node was given and that has not ended is in the list, however often it
// renews.
func TestIssued(t *testing.T) {
	g := newGrid(t)
	key, first := g.node("n1", noon)
	later := noon.Add(trust.NodeLife + time.Second)
	second := g.certify(key, "n1", noon.Add(day))
	list := must(trust.Issued(nil, first, noon))
	list = must(trust.Issued(list, slices.Concat(second, first), noon)) // the newest is the first of a node's
	again := must(trust.Issued(list, second, noon))
	if !bytes.Equal(list, slices.Concat(first, second)) || !bytes.Equal(again, list) {
		t.Errorf("the list has %d certificates, then %d", len(trust.Certificates(list)), len(trust.Certificates(again)))
	}
	if ids := g.roots.Each("n1", list); len(ids) != 2 || len(g.roots.Each("n2", list)) != 0 {
		t.Errorf("it says who %d are", len(ids))
	}
	third := g.certify(key, "n1", later)
	if got := must(trust.Issued(list, third, later)); !bytes.Equal(got, slices.Concat(second, third)) {
		t.Error("what has ended stays, or what has not goes")
	}
	_, err := trust.Issued(list, []byte("x"), noon)
	refused(t, err, trust.ErrMalformed)
	for range 62 {
		list = must(trust.Issued(list, g.certify(key, "n1", noon), noon))
	}
	if _, err := trust.Issued(list, g.certify(key, "n1", noon), noon); err == nil {
		t.Error("there is no end to them")
	}
	roots, _, err := g.ca.Revoke(g.roots, noon, g.roots.Each("n1", list)...)
	refused(t, err, nil)
	for _, cert := range [][]byte{first, second} {
		refused(t, must(roots.Identity("n1", cert)).Valid(noon), trust.ErrRevoked)
	}
}

// A certificate that is made again is for the same node, key and address, and is the
// newer one also where it is made at the same time or by a clock that went back.
func TestReissue(t *testing.T) {
	g := newGrid(t)
	key, cert := g.node("n1", noon)
	was := must(g.roots.Identity("n1", cert))
	for _, now := range []time.Time{noon, noon.Add(-day), noon.Add(day)} {
		next := must(g.ca.Reissue(was, true, now))
		id := must(g.roots.Identity("n1", next))
		if !id.Member || id.Address != was.Address || id.ControlKey != was.ControlKey || !id.Expires.After(was.Expires) {
			t.Errorf("at %v: %+v", now, id)
		}
		_ = must(key.TLS(next))
		if must(g.roots.Identity("n1", must(g.ca.Reissue(id, false, now)))).Member {
			t.Error("it stays a member")
		}
	}
}
