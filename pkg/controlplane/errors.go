package controlplane

import (
	"fmt"
	"strings"

	"github.com/zosnet/zosnet/pkg/registry"
)

// RefusedError says that this node, or the grid as it is, does not allow what was asked.
// Nothing was changed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

var (
	// ErrNoGrid says that this node is in no grid.
	ErrNoGrid error = &RefusedError{"this node is in no grid: make one with zosnet grid init, or join one with zosnet grid join"}

	errInGrid  = refuse("this node is in a grid already, see zosnet grid show: to leave it, stop the daemon and move STATEDIR/grid away")
	errForeign = refuse("somebody else runs this grid's registry: its members are for them to choose")
)

func refuse(reason string) error { return &RefusedError{reason} }

// orLost adds to an error of a registry of which too few members answer what to look at.
func (p *Plane) orLost(err error) error {
	state := p.State()
	if state == nil || state.Foreign || !registry.NoMajority(err) {
		return err
	}
	return fmt.Errorf("%w; do most of the members (%s) run, and reach each other? zosnet grid recover tells who answers, and changes nothing without --yes",
		err, strings.Join(membersOf(state), ", "))
}
