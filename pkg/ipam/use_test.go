package ipam_test

import (
	"testing"

	"github.com/zosnet/zosnet/pkg/ipam"
)

func TestInUse(t *testing.T) {
	b := blocks(t, "2001:db8::/56", "2001:db8:0:200::/60")
	var s ipam.State
	for _, network := range []string{"a", "b", "c"} {
		s, _ = allocate(t, s, b, network, start)
	}
	s = s.Release("b", start)
	uses := s.InUse(b, start)
	if len(uses) != 1 || uses[0].Block.String() != "2001:db8::/56" || uses[0].Capacity != 255 ||
		uses[0].Owned() != 2 || uses[0].Resting() != 1 {
		t.Errorf("in use are %+v", uses)
	}
	if uses := s.InUse(b, start.Add(ipam.Rest)); uses[0].Resting() != 0 || len(uses[0].Leases) != 2 {
		t.Errorf("after the rest in use are %+v", uses)
	}
	if uses := s.InUse(blocks(t, "2001:db8:1::/48"), start); len(uses) != 0 {
		t.Errorf("of other blocks in use are %+v", uses)
	}
}
