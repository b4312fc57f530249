package delegation

import (
	"fmt"
	"net/netip"
)

// RefusedError says that this node, or the grid as it is, does not allow what was asked.
// Nothing was changed.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

func refused(format string, args ...any) error { return &RefusedError{fmt.Errorf(format, args...)} }

// NotHeldError says that this node does not hold a prefix that it is to release.
type NotHeldError struct{ Prefix netip.Prefix }

func (e *NotHeldError) Error() string {
	return fmt.Sprintf("release %s: this node holds no such prefix", e.Prefix)
}
