package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// revokeAttempts bounds how often a revocation list is made again when others were
// faster.
const revokeAttempts = 10

// administer gives what this node administers the grid's registry by; an error where
// it does not.
func (p *Plane) administer() (*seat, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == nil:
		return nil, ErrNoGrid
	case p.seat == nil && p.member != nil:
		return nil, refuse(fmt.Sprintf("this member of the grid's registry does not serve: do most of the members (%s) run, and reach each other? zosnet grid recover tells who answers, and changes nothing without --yes",
			strings.Join(membersOf(p.state), ", ")))
	case p.seat == nil:
		return nil, refuse("this node is no member of the grid's registry: ask one of " + strings.Join(membersOf(p.state), ", "))
	}
	return p.seat, nil
}

// Expel takes a node out of the grid for good: its certificates are revoked, so that
// nobody believes what it signed or lets it in, and its rights, record, claims and
// everything else that it wrote are deleted. Its name is free then. This node must be a member and have the CA's
// key. The same again finishes what was begun; a node that is not there gives a
// *registry.NotFoundError.
func (p *Plane) Expel(ctx context.Context, node string) error {
	s, err := p.administer()
	if err != nil {
		return err
	}
	ca, err := p.home.CA()
	if err != nil {
		return err
	}
	state, client := p.State(), p.Registry()
	switch {
	case node == state.Node:
		return refuse("this is that node: ask another member to remove it")
	case slices.Contains(membersOf(state), node):
		return refuse(fmt.Sprintf("node %s is a member of the grid's registry: first zosnet grid demote %s", node, node))
	}
	roster, err := client.Roster(ctx)
	if err != nil {
		return err
	}
	issued, err := client.Issued(ctx, node)
	if err != nil {
		return err
	}
	if issued == nil && !slices.ContainsFunc(roster, func(a gridstore.Admission) bool { return a.Node == node }) {
		return &registry.NotFoundError{Kind: "node", Name: node}
	}
	if err := p.revoke(ctx, s.root, ca, node, issued, func(*trust.Identity) bool { return true }); err != nil {
		return err
	}
	if err := s.root.Expel(ctx, node); err != nil {
		return err
	}
	p.log.Info("node was taken out of the grid", "node", node)
	wake(p.look)
	return nil
}

// revoke publishes that those certificates of a node (PEM) which are meant are good no
// more.
func (p *Plane) revoke(ctx context.Context, root gridstore.Root, ca *trust.CA, node string, certificates []byte, meant func(*trust.Identity) bool) error {
	for range revokeAttempts {
		err := p.revokeOnce(ctx, root, ca, node, certificates, meant)
		if !errors.Is(err, gridstore.ErrStale) {
			return err
		}
	}
	return fmt.Errorf("revoke the certificates of node %s: %w", node, gridstore.ErrStale)
}

func (p *Plane) revokeOnce(ctx context.Context, root gridstore.Root, ca *trust.CA, node string, certificates []byte, meant func(*trust.Identity) bool) error {
	roots := p.own.Load().roots
	published, err := p.Registry().Revocations(ctx)
	if err != nil {
		return err
	}
	// What is in the registry may be newer than what this node has heard, or older: a
	// registry that was put back. Ours must be above both.
	if published != nil {
		newer, err := roots.Revoked(published)
		switch {
		case err == nil:
			roots = newer
		case !errors.Is(err, trust.ErrOlder):
			return err
		}
	}
	ids := slices.DeleteFunc(roots.Each(node, certificates), func(id *trust.Identity) bool { return id.Revoked() || !meant(id) })
	if len(ids) == 0 {
		return nil
	}
	roots, list, err := ca.Revoke(roots, time.Now(), ids...)
	if err != nil {
		return err
	}
	if err := root.PutRevocations(ctx, published, list); err != nil {
		return err
	}
	if err := p.keepRevocations(roots); err != nil {
		return err
	}
	_, err = p.readIdentity(p.State().Node)
	return err
}

// keepRevocations keeps a revocation list, unless a newer one is kept: what this node
// made it hears from the registry at the same time.
func (p *Plane) keepRevocations(roots *trust.Roots) error {
	p.credentials.Lock()
	defer p.credentials.Unlock()
	if err := p.home.SetRevocations(roots); err != nil && !errors.Is(err, trust.ErrOlder) {
		return err
	}
	return nil
}
