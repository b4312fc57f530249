package trust

import (
	"fmt"
	"slices"
)

// Accept says whose networks a node carries.
type Accept struct {
	owners []Owner // nil: anybody's
}

// ParseAccept takes the owners that node.yaml lists; none stands for any.
func ParseAccept(owners []string) (Accept, error) {
	var a Accept
	for _, text := range owners {
		owner, err := ParseOwner(text)
		if err != nil {
			return Accept{}, err
		}
		a.owners = append(a.owners, owner)
	}
	return a, nil
}

// Allows says whether the node carries networks of this owner.
func (a Accept) Allows(o Owner) bool { return a.owners == nil || slices.Contains(a.owners, o) }

// Pin is what a node remembers of a network's name: who owns it, and the last
// revision it has seen. The zero Pin is a name never heard of. A pin outlives its
// network: revisions of a name only ever go up, whoever owns it, so nothing that
// was once signed comes back.
type Pin struct {
	Owner    Owner  `json:"owner"`
	Revision uint64 `json:"revision"`
	Digest   []byte `json:"digest"`
	Released bool   `json:"released,omitempty"` // the name is free
}

// Observe says what is pinned once this document is believed, after proving that
// its owner signed it. Seeing the pinned document again changes nothing. Errors
// wrap ErrMalformed, ErrSignature, ErrNotAccepted, ErrOtherOwner, ErrOlder or
// ErrConflict; what was pinned stays then, and the document must not be used.
func (p Pin) Observe(d Document, accept Accept) (Pin, error) {
	if err := d.Verify(); err != nil {
		return p, err
	}
	if err := p.refuse(d, accept); err != nil {
		return p, fmt.Errorf("network %s, revision %d: %w", d.Network, d.Revision, err)
	}
	if d.Revision == p.Revision {
		return p, nil // also where the name was freed since: an old document does not take it again
	}
	return Pin{Owner: d.Owner, Revision: d.Revision, Digest: d.digest(), Released: d.Released}, nil
}

func (p Pin) refuse(d Document, accept Accept) error {
	same := d.Owner == p.Owner
	switch {
	case !accept.Allows(d.Owner):
		return fmt.Errorf("%w: add %s to accept in node.yaml if it should", ErrNotAccepted, d.Owner)
	case p.Revision == 0:
		return nil
	case !same && !p.Released:
		return fmt.Errorf("%w: signed by %s, pinned is %s", ErrOtherOwner, d.Owner, p.Owner)
	case d.Revision < p.Revision, d.Revision == p.Revision && !same:
		return fmt.Errorf("%w: revision %d", ErrOlder, p.Revision)
	case d.Revision == p.Revision && string(d.digest()) != string(p.Digest):
		return fmt.Errorf("%w: its owner signed two texts", ErrConflict)
	}
	return nil
}

// Forget frees the name here without its owner's word: for whoever runs the node,
// when the owner's key is lost. What was signed before stays refused, but for the
// document that is pinned: that one goes on, and takes the name no more.
func (p Pin) Forget() Pin {
	p.Released = p.Revision != 0
	return p
}
