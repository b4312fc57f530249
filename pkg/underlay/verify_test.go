package underlay

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var afar = netip.MustParseAddr("2001:db8:2::2") // lab's outside, by its router

// TestVerify: a router with the right route to a prefix, and all that can be wrong with
// it.
func TestVerify(t *testing.T) {
	testenv.RequireRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := lab.New(ctx, lab.Config{Name: "verify-" + strconv.FormatInt(int64(os.Getpid()), 36)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, m := range []*lab.Machine{l.Router, l.Outside} { // every hop is to answer
		if err := m.Sysctl("net/ipv6/icmp/ratelimit", "0"); err != nil {
			t.Fatal(err)
		}
	}
	prefix := lab.Allocation.String()
	right := "-6 route add " + prefix + " via " + lab.NodeIPv6.String()
	for _, row := range []struct {
		name   string
		router []string // ip's arguments, instead of the right route

		undo    []string // of router and node
		forward bool     // the machine outside is a router too
		want    Finding
		by      netip.Addr
		hops    []netip.Addr
	}{
		{name: "right", router: []string{right}, want: Routed},
		{name: "none", want: NoRoute, by: lab.RouterIPv6},
		{name: "to nowhere, in silence", router: []string{"-6 route add blackhole " + prefix}, want: Lost},
		{name: "to nowhere, and it says so", router: []string{"-6 route add unreachable " + prefix}, want: NoRoute, by: lab.RouterIPv6},
		{name: "forbidden", router: []string{"-6 route add prohibit " + prefix}, want: Rejected, by: lab.RouterIPv6},
		{name: "on the link", router: []string{"-6 route add " + prefix + " dev near"}, want: OnLink},
		{name: "on another link", router: []string{"-6 route add " + prefix + " dev far"}, want: OnLink, by: lab.RouterIPv6},
		{
			name: "to another, who drops it", router: []string{"-6 route add " + prefix + " via " + afar.String()},
			want: Lost, hops: []netip.Addr{lab.RouterIPv6},
		},
		{
			name: "to another, who sends it back", router: []string{"-6 route add " + prefix + " via " + afar.String()}, forward: true,
			want: Loop,
		},
		{
			name: "right, but what is sent from it is dropped", router: []string{right, "-6 rule add from " + prefix + " blackhole"},
			undo: []string{"-6 rule del from " + prefix + " blackhole"}, want: SourceFiltered,
		},
		{
			name: "right, but what is sent from it is refused", router: []string{right, "-6 rule add from " + prefix + " prohibit"},
			undo: []string{"-6 rule del from " + prefix + " prohibit"}, want: SourceFiltered, by: lab.RouterIPv6,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			ip(t, ctx, l.Router, "-6 route flush "+prefix)
			for _, args := range row.router {
				ip(t, ctx, l.Router, args)
			}
			defer func() {
				for _, args := range row.undo {
					ip(t, ctx, l.Router, args)
				}
			}()
			forward := "0"
			if row.forward {
				forward = "1"
			}
			if err := l.Outside.Sysctl("net/ipv6/conf/all/forwarding", forward); err != nil {
				t.Fatal(err)
			}
			got := verify(t, ctx, l.Node, "eth0")
			if got.Finding != row.want || row.by.IsValid() && got.By != row.by {
				t.Errorf("found %+v, want %s by %v: %s", got, row.want, row.by, got.Advice())
			}
			if row.hops != nil && !slices.Equal(got.Hops, row.hops) {
				t.Errorf("it went by %v, want %v", got.Hops, row.hops)
			}
			if !lab.Allocation.Contains(got.Target) || got.Source != lab.NodeIPv6 || got.Gateway != lab.RouterIPv6 {
				t.Errorf("it tried %+v", got)
			}
		})
	}
	t.Run("the default route is not by an uplink", func(t *testing.T) {
		if got := verify(t, ctx, l.Node); got.Finding != OtherUplink {
			t.Errorf("found %+v", got)
		}
	})
	t.Run("the router is not there", func(t *testing.T) {
		ip(t, ctx, l.Node, "-6 route replace default via 2001:db8:1::99")
		if got := verify(t, ctx, l.Node, "eth0"); got.Finding != GatewaySilent || got.Gateway != netip.MustParseAddr("2001:db8:1::99") {
			t.Errorf("found %+v", got)
		}
	})
	t.Run("there is no default route", func(t *testing.T) {
		ip(t, ctx, l.Node, "-6 route del default")
		if got := verify(t, ctx, l.Node, "eth0"); got.Finding != NoDefault {
			t.Errorf("found %+v", got)
		}
	})
}

func ip(t *testing.T, ctx context.Context, m *lab.Machine, args string) {
	t.Helper()
	if _, err := m.Run(ctx, "ip", strings.Fields(args)...); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, ctx context.Context, m *lab.Machine, uplinks ...string) (r Result) {
	t.Helper()
	err := m.Do(func() (err error) {
		r, err = Verify(ctx, Route{Prefix: lab.Allocation, Source: lab.NodeIPv6, Uplinks: uplinks})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Advice() == "" {
		t.Errorf("nothing is said of %+v", r)
	}
	return r
}
