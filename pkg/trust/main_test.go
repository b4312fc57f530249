package trust_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

const day = 24 * time.Hour

var (
	noon    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	address = netip.MustParseAddr("fd5a:1::a")
	control = trust.ControlKey{1, 2, 3}
)

// must gives a value that a test needs and is not about.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// refused holds an error to the reason that it must have; nil is none.
func refused(t *testing.T, err, reason error) {
	t.Helper()
	switch {
	case reason == nil && err != nil:
		t.Errorf("refused: %v", err)
	case reason != nil && !errors.Is(err, reason):
		t.Errorf("got error %v, want one that says: %v", err, reason)
	}
}

// grid is a CA and the nodes that it certified.
type grid struct {
	ca    *trust.CA
	roots *trust.Roots
}

func newGrid(t *testing.T) grid {
	t.Helper()
	ca := must(trust.NewCA(noon))
	return grid{ca, must(trust.ParseRoots(ca.CertificatePEM()))}
}

// node makes a key and has it certified at a time of the CA's clock.
func (g grid) node(name string, at time.Time) (*trust.NodeKey, []byte) {
	key := must(trust.NewNodeKey())
	return key, g.certify(key, name, at)
}

func (g grid) certify(key *trust.NodeKey, name string, at time.Time) []byte {
	request := must(trust.ParseRequest(must(key.Request(name, control))))
	return must(g.ca.Issue(request, address, at))
}
