package controlplane

// RefusedError says that this node, or the grid as it is, does not allow what was asked.
// Nothing was changed.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

var (
	// ErrNoGrid says that this node is in no grid.
	ErrNoGrid error = &RefusedError{"this node is in no grid: make one with zosnet grid init, or join one with zosnet grid join"}

	errInGrid  = refuse("this node is in a grid already")
	errForeign = refuse("somebody else runs this grid's registry: its members are for them to choose")
)

func refuse(reason string) error { return &RefusedError{reason} }
