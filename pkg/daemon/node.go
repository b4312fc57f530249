package daemon

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zosnet/zosnet/pkg/spec"
)

// NodeError says that node.yaml cannot be used. Nothing was changed.
type NodeError struct{ Err error }

func (e *NodeError) Error() string { return e.Err.Error() }
func (e *NodeError) Unwrap() error { return e.Err }

// readNode reads node.yaml and refuses what this version does not carry.
func readNode(file string) (*spec.Node, error) {
	node, err := spec.ReadNode(file)
	if err == nil {
		err = node.NotYet()
	}
	if err != nil {
		return nil, &NodeError{err}
	}
	return node, nil
}

// nodeFile is node.yaml, as it was last read well.
type nodeFile struct {
	path    string
	current atomic.Pointer[spec.Node]
}

func (f *nodeFile) node() *spec.Node { return f.current.Load() }

// reread takes a changed node.yaml. One that is wrong, or that changes what only
// a new process can, leaves the old one.
func (f *nodeFile) reread() error {
	next, err := readNode(f.path)
	if err != nil {
		return err
	}
	if fixed := fixedChanges(f.node(), next); len(fixed) > 0 {
		return fmt.Errorf("%s: %s changed; that takes a restart of the daemon", f.path, strings.Join(fixed, ", "))
	}
	f.current.Store(next)
	return nil
}

// fixedChanges names what differs of that which a process keeps for life.
func fixedChanges(old, next *spec.Node) []string {
	var list []string
	for _, field := range []struct{ key, old, next string }{
		{"node", old.Name, next.Name},
		{"stateDir", old.StateDir, next.StateDir},
		{"runDir", old.RunDir, next.RunDir},
		{"bpffs", old.BPFFS, next.BPFFS},
		{"registry", registryText(old.Registry), registryText(next.Registry)},
	} {
		if field.old != field.next {
			list = append(list, field.key)
		}
	}
	return list
}

func registryText(r spec.Registry) string {
	return strings.Join(append(slices.Clone(r.Endpoints), r.CA, r.Cert, r.Key), " ")
}

// sameLockdown tells whether two lists of openings let the same in, wherever
// they stand.
func sameLockdown(a, b []spec.LockdownAllow) bool {
	return slices.EqualFunc(a, b, func(x, y spec.LockdownAllow) bool {
		return x.From == y.From && slices.EqualFunc(x.Ports, y.Ports, func(p, q spec.Ports) bool {
			return p.Any == q.Any && p.Proto == q.Proto && p.First == q.First && p.Last == q.Last
		})
	})
}
