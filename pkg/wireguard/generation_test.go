package wireguard

import (
	"math"
	"testing"
)

func TestGenerationsCountInACircle(t *testing.T) {
	for _, row := range []struct {
		a, b  Generation
		after bool
	}{
		{0, 0, false}, {1, 0, true}, {0, 1, false}, {7, 3, true},
		{0, math.MaxUint32, true}, {math.MaxUint32, 0, false}, {1 << 30, 0, true},
		{Generation(math.MaxUint32).Next(), math.MaxUint32, true},
	} {
		if got := row.a.After(row.b); got != row.after {
			t.Errorf("%d after %d: %v, want %v", row.a, row.b, got, row.after)
		}
	}
}

func TestKeyNames(t *testing.T) {
	for name, want := range map[string]struct {
		network string
		g       Generation
		ok      bool
	}{
		"acme":            {"acme", 0, true},
		"acme.1":          {"acme", 1, true},
		"acme.4294967295": {"acme", math.MaxUint32, true},
		"acme.4294967296": {},
		"acme.0":          {"acme", 0, false},
		"acme.01":         {"acme", 1, false},
		"acme.new":        {},
		".1":              {"", 1, false},
		"":                {},
	} {
		network, g, ok := ParseKeyName(name)
		if network != want.network || g != want.g || ok != want.ok {
			t.Errorf("%q is network %q, generation %d, %v; want %+v", name, network, g, ok, want)
		}
		if ok && KeyName(network, g) != name {
			t.Errorf("%q came back as %q", name, KeyName(network, g))
		}
	}
}
