package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

const (
	mostMembers = 5
	// startPatience is how long a promoted node may take to start its member.
	startPatience = 90 * time.Second
	startEvery    = 200 * time.Millisecond
	// livePatience is how long a node that has just come back may take to say so: its
	// handshakes, and an attempt that was lost with them, are part of it.
	livePatience = 15 * time.Second
)

// promote makes a node a member: first by its certificate, then in the registry,
// where it hears everything before it has a vote. What is done already is left as
// it is.
func (p *Plane) promote(ctx context.Context, s *seat, node string) error {
	ca, err := p.home.CA()
	if err != nil {
		return err
	}
	place, err := p.placeOf(ctx, node)
	if err != nil {
		return err
	}
	peer := netip.AddrPortFrom(place.Address, peerPort)
	members, err := s.member.Members(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(m registry.GridMember) bool { return m.Peer == peer }) {
		if err := p.canPromote(ctx, node, len(members)); err != nil {
			return err
		}
	}
	if err := p.certify(ctx, s.root, ca, *place, true); err != nil {
		return err
	}
	cluster, err := s.member.AddMember(ctx, node, peer)
	if err != nil {
		return err
	}
	self := p.Registry().Snapshot().Nodes[node]
	if self == nil || !self.Member.IsValid() {
		if err := s.root.PutMember(ctx, node, netip.AddrPort{}, cluster); err != nil {
			return err
		}
	}
	if err := started(ctx, s.member, node); err != nil {
		return err
	}
	if err := s.member.Promote(ctx, node); err != nil {
		return err
	}
	if err := s.root.PutMember(ctx, node, netip.AddrPortFrom(place.Address, clientPort), nil); err != nil {
		return err
	}
	p.log.Info("node was made a member of the grid's registry", "node", node)
	return nil
}

// canPromote refuses what could not become a member. It waits for a node that may have
// just come back.
func (p *Plane) canPromote(ctx context.Context, node string, members int) error {
	if members >= mostMembers {
		return refuse(fmt.Sprintf("there are %d members already, the most that there can be: demote one first", members))
	}
	switch n := p.untilLive(ctx, node); {
	case !isLive(n):
		return refuse("its daemon does not run, or does not reach the registry: see zosnet status there")
	case n.Record.ControlEndpoint == "":
		return refuse("its node.yaml names no endpoint, so the other members could not reach it: if it can be reached, say where, and reload its daemon")
	}
	return nil
}

// untilLive gives a node as it is once it is live, or has not become so in time, or
// ctx has ended.
func (p *Plane) untilLive(ctx context.Context, node string) *gridstore.Node {
	ctx, cancel := context.WithTimeout(ctx, livePatience)
	defer cancel()
	client := p.Registry()
	for changed := client.Watch(ctx); ; {
		n := client.Snapshot().Nodes[node]
		if isLive(n) {
			return n
		}
		if _, open := <-changed; !open {
			return n
		}
	}
}

func isLive(n *gridstore.Node) bool { return n != nil && n.Live && n.Record != nil }

// started waits until a member has started for the first time.
func started(ctx context.Context, member *registry.Member, node string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		members, err := member.Members(ctx)
		if err == nil && slices.ContainsFunc(members, func(m registry.GridMember) bool { return m.Name == node }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("it was told to start its member and has not: see its daemon's log"), err)
		case <-time.After(startEvery):
		}
	}
}

// demote takes a node out of the members: first for the registry's clients, then
// among the members, then by its certificate, where this node can. It tells what
// remains to be done elsewhere.
func (p *Plane) demote(ctx context.Context, s *seat, node string) (warning string, err error) {
	place, err := p.placeOf(ctx, node)
	if err != nil {
		return "", err
	}
	members, err := s.member.Members(ctx)
	if err != nil {
		return "", err
	}
	peer := netip.AddrPortFrom(place.Address, peerPort)
	at := slices.IndexFunc(members, func(m registry.GridMember) bool { return m.Peer == peer })
	ca, err := p.home.CA()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	self := node == p.State().Node
	switch voters := slices.DeleteFunc(slices.Clone(members), func(m registry.GridMember) bool { return m.Learner }); {
	case at >= 0 && !members[at].Learner && len(voters) == 1:
		return "", refuse("it is the last member: promote another one first")
	case self && ca != nil:
		return "", refuse("it has the CA's key, without which nobody joins: bring ca.key and own-ca.pem from STATEDIR/grid to another member, restart its daemon, and ask that one")
	}
	if err := s.root.DeleteMember(ctx, node); err != nil {
		return "", err
	}
	if at >= 0 {
		if err := s.member.Remove(ctx, peer); err != nil && (!self || !errors.Is(err, registry.ErrRemoved)) {
			return "", err
		}
		p.log.Info("node was taken out of the members of the grid's registry", "node", node)
	}
	if ca == nil {
		return keepsCertificate(node), nil
	}
	return "", p.uncertify(ctx, s.root, ca, *place)
}

// placeOf gives a node's place in the grid.
func (p *Plane) placeOf(ctx context.Context, node string) (*gridstore.Admission, error) {
	roster, err := p.Registry().Roster(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(roster, func(a gridstore.Admission) bool { return a.Node == node })
	if i < 0 {
		return nil, &registry.NotFoundError{Kind: "node", Name: node}
	}
	return &roster[i], nil
}

// certify gives a node a certificate of a member, or of one that is none, if the
// newest is not one.
func (p *Plane) certify(ctx context.Context, root gridstore.Root, ca *trust.CA, place gridstore.Admission, member bool) error {
	has, err := p.Registry().Certificate(ctx, place.Node)
	if err != nil {
		return err
	}
	id, err := p.own.Load().roots.Identity(place.Node, has)
	if err != nil {
		return err
	}
	if id.Address != place.Address || id.ControlKey != place.ControlKey {
		return fmt.Errorf("its certificate is for control address %v, key %v: %w", id.Address, id.ControlKey, trust.ErrMalformed)
	}
	if id.Member == member && id.Valid(time.Now()) == nil {
		return nil
	}
	next, err := ca.Reissue(id, member, time.Now())
	if err != nil {
		return err
	}
	certificates, err := trust.Renewed(next, has)
	if err != nil {
		return err
	}
	return root.Renew(ctx, place.Node, place.ControlKey, certificates)
}

// uncertify takes the certificates back by which a node was a member.
func (p *Plane) uncertify(ctx context.Context, root gridstore.Root, ca *trust.CA, place gridstore.Admission) error {
	if err := p.certify(ctx, root, ca, place, false); err != nil {
		return err
	}
	issued, err := p.Registry().Issued(ctx, place.Node)
	if err != nil {
		return err
	}
	return p.revoke(ctx, root, ca, place.Node, issued, func(id *trust.Identity) bool { return id.Member })
}

func keepsCertificate(node string) string {
	return fmt.Sprintf("node %s keeps a certificate of a member until somebody runs zosnet grid demote %s at a member that has the CA's key", node, node)
}
