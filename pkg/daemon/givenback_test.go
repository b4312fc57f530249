package daemon

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/registry"
)

// TestMarkGivenBack: which blocks are shown as on their way back.
func TestMarkGivenBack(t *testing.T) {
	own := []registry.Block{
		{Block: netip.MustParsePrefix("2001:db8:aaaa:100::/56"), Holder: "n9"},
		{Block: netip.MustParsePrefix("2001:db8:aaaa:200::/56"), Holder: "n9", GivenBack: true},
		{Block: netip.MustParsePrefix("2001:db8:aaaa:300::/56"), Holder: "n9", GivenBack: true},
	}
	for _, c := range []struct {
		what  string
		block *api.Block
		want  bool
	}{
		{"this node's", &api.Block{Block: "2001:db8:aaaa:100::/56"}, false},
		{"this node's, which it needs no more", &api.Block{Block: "2001:db8:aaaa:200::/56"}, true},
		{"the same, once its holder lets it rest", &api.Block{Block: "2001:db8:aaaa:300::/56", RestsUntil: "2026-11-22T17:00:00Z"}, false},
		{"the same, once another node has it", &api.Block{Block: "2001:db8:aaaa:200::/56", Elsewhere: true}, false},
		{"the holder's own", &api.Block{Block: "2001:db8:aaaa:400::/56"}, false},
	} {
		if markGivenBack([]*api.Block{c.block}, own); c.block.GivenBack != c.want {
			t.Errorf("%s: on its way back %v, want %v", c.what, c.block.GivenBack, c.want)
		}
	}
}
