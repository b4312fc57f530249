package daemon

import (
	"testing"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/trust"
)

// TestForgettable: when an owner can be forgotten.
func TestForgettable(t *testing.T) {
	owned, free := trust.Pin{Revision: 3}, trust.Pin{Revision: 3, Released: true}
	for _, c := range []struct {
		what        string
		pin         trust.Pin
		here, force bool
		want        bool
	}{
		{"its network is not here", owned, false, false, true},
		{"its network is not here, forced", owned, false, true, true},
		{"its network is here", owned, true, false, false},
		{"its network is here, forced", owned, true, true, true},
		{"the name is free", free, false, false, false},
		{"the name is free, forced", free, true, true, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			if err := forgettable(&api.ForgetOwnerRequest{Network: "acme", Force: c.force}, c.pin, c.here); (err == nil) != c.want {
				t.Errorf("%v, want it to be done %v", err, c.want)
			}
		})
	}
}
