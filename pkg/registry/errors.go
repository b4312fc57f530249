package registry

import (
	"errors"
	"fmt"
	"strings"
)

// ErrClosed says that the Store was closed.
var ErrClosed = errors.New("the registry is closed")

// NotFoundError says that something named does not exist.
type NotFoundError struct {
	Kind    string // "network", "service", "workload", "registration", or "node", "member", "join token" of a grid
	Network string // the network it was looked for in; empty for a network and for what is of a grid
	Name    string
}

func (e *NotFoundError) Error() string {
	switch e.Kind {
	case "network":
		return fmt.Sprintf("there is no network %q; apply its document first", e.Name)
	case "registration":
		return fmt.Sprintf("%s is not registered here", e.Name)
	case "member":
		return fmt.Sprintf("the grid's registry has no member %s; zosnet grid members lists those that it has", e.Name)
	case "node":
		return fmt.Sprintf("the grid has no node %s; zosnet nodes lists those that it has", e.Name)
	case "join token":
		return fmt.Sprintf("this node has made no join token %s", e.Name)
	}
	return fmt.Sprintf("network %q has no %s %q", e.Network, e.Kind, e.Name)
}

// ExistsError says that something else already has a name or an address.
type ExistsError struct {
	Network string
	Name    string // the workload's name or the address
	By      string // what has it
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("in network %q, %s is already used by %s; choose another or remove that one first",
		e.Network, e.Name, e.By)
}

// InUseError says that a network or services of it cannot go, for workloads are
// attached.
type InUseError struct {
	Network   string
	Services  []string // the services that would go; nil when the network would
	Workloads []string // by name
}

func (e *InUseError) Error() string {
	what := fmt.Sprintf("network %q", e.Network)
	if len(e.Services) > 0 {
		what = fmt.Sprintf("%s without its service %s", what, strings.Join(e.Services, ", "))
		return fmt.Sprintf("store %s: still attached to it: %s; detach them first", what, strings.Join(e.Workloads, ", "))
	}
	return fmt.Sprintf("delete %s: still attached: %s; detach them first, or force it", what, strings.Join(e.Workloads, ", "))
}

// LockedError says that another process holds the state directory.
type LockedError struct {
	Dir string
	PID int // 0 when it did not say
}

func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("state directory %s is in use by %s: one daemon per state directory; stop that one or set another stateDir", e.Dir, holder)
}

// NoSpaceError says that a file system is too full to write to.
type NoSpaceError struct {
	Dir  string
	Free uint64 // bytes
	Need uint64 // bytes
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("the file system of %s has %d MiB free and the registry wants %d MiB; nothing was changed: free some space and try again",
		e.Dir, e.Free>>20, e.Need>>20)
}

// FailedError says that the member had to stop and why. What was enforced stays
// enforced; the registry works again when the daemon is started anew.
type FailedError struct {
	Dir   string
	Cause error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("the registry in %s stopped: %v; see to that (disk full? broken?) and start the daemon again", e.Dir, e.Cause)
}

func (e *FailedError) Unwrap() error { return e.Cause }
