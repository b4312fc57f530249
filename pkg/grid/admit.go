package grid

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/trust"
)

// admitAttempts bounds how often an admission is computed again when others
// changed what it was computed from.
const admitAttempts = 10

// errIdentity says that who wants a new certificate has no good one.
var errIdentity = errors.New("a valid certificate of a node of this grid is needed")

// join lets a node in: the token is used and the name taken, or neither.
func (s *Service) join(ctx context.Context, r joinRequest) (*joinAnswer, error) {
	request, err := trust.ParseRequest([]byte(r.Request))
	if err != nil {
		return nil, err
	}
	for range admitAttempts {
		certificate, err := s.admit(ctx, r, request)
		if errors.Is(err, ErrStale) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return s.welcome(ctx, certificate)
	}
	return nil, fmt.Errorf("let node %s in: %w", request.Node, ErrStale)
}

// admit makes one attempt and gives the node's certificate.
func (s *Service) admit(ctx context.Context, r joinRequest, request *trust.Request) ([]byte, error) {
	pending, err := s.Store.Token(ctx, r.ID)
	if err != nil {
		return nil, fmt.Errorf("look up a token: %w", err)
	}
	now := s.Now()
	again, err := pending.Check(r.Secret, request, now)
	switch {
	case err != nil:
		return nil, err
	case again:
		return s.Store.Certificate(ctx, request.Node)
	}
	if request.ControlKey == pending.Peer {
		return nil, ErrKeyTaken // whoever has seen the token has its private half
	}
	nodes, err := s.Store.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the nodes: %w", err)
	}
	if err := free(nodes, request); err != nil {
		return nil, err
	}
	address, err := Address(s.Control, request.Node, func(addr netip.Addr) bool {
		return slices.ContainsFunc(nodes, func(n Node) bool { return n.Address == addr })
	})
	if err != nil {
		return nil, err
	}
	certificate, err := s.CA.Issue(request, address, now)
	if err != nil {
		return nil, err
	}
	err = s.Store.Admit(ctx, Admission{
		Token: pending.Use(request, now), Node: request.Node, Address: address,
		ControlKey: request.ControlKey, Certificate: certificate,
	})
	if err != nil {
		return nil, fmt.Errorf("let node %s in: %w", request.Node, err)
	}
	s.Log.Info("node joined", "node", request.Node, "address", address, "token", pending.ID)
	return certificate, nil
}

// free says whether the name and the control key that a node wants are free.
func free(nodes []Node, request *trust.Request) error {
	for _, n := range nodes {
		switch {
		case n.Name == request.Node:
			return ErrNameTaken
		case n.ControlKey == request.ControlKey:
			return ErrKeyTaken
		}
	}
	return nil
}

// welcome is what a node gets to know once it is in.
func (s *Service) welcome(ctx context.Context, certificate []byte) (*joinAnswer, error) {
	nodes, err := s.Store.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the nodes: %w", err)
	}
	members, err := s.Store.Members(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the members: %w", err)
	}
	answer := &joinAnswer{Certificate: string(certificate), CAs: string(s.Roots().PEM()), Control: s.Control, Foreign: s.Foreign}
	for _, n := range nodes {
		if slices.Contains(members, n.Name) {
			answer.Members = append(answer.Members, n)
		}
	}
	return answer, nil
}

// renew gives a node a new certificate for its name and its address. Its keys may
// be new ones. It is a member's if the node's was and the registry still says so.
func (s *Service) renew(ctx context.Context, state *tls.ConnectionState, r renewRequest) (*renewAnswer, error) {
	request, err := trust.ParseRequest([]byte(r.Request))
	if err != nil {
		return nil, err
	}
	if len(state.PeerCertificates) == 0 {
		return nil, errIdentity
	}
	id, err := s.Roots().IdentityOf(state.PeerCertificates[0], s.Now())
	if err != nil || id.Node != request.Node {
		return nil, errIdentity
	}
	nodes, err := s.Store.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up the nodes: %w", err)
	}
	others := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.Name == id.Node })
	if len(others) == len(nodes) {
		return nil, errIdentity // it was taken out of the grid
	}
	if err := free(others, request); err != nil {
		return nil, err
	}
	member, err := s.Store.IsMember(ctx, id.Node)
	if err != nil {
		return nil, fmt.Errorf("look up the members: %w", err)
	}
	issue := s.CA.Issue
	if id.Member && member { // the registry alone makes nobody a member
		issue = s.CA.IssueMember
	}
	certificate, err := issue(request, id.Address, s.Now())
	if err != nil {
		return nil, err
	}
	if err := s.Store.Renew(ctx, id.Node, request.ControlKey, certificate); err != nil {
		return nil, fmt.Errorf("renew the certificate of node %s: %w", id.Node, err)
	}
	s.Log.Info("certificate renewed", "node", id.Node)
	return &renewAnswer{Certificate: string(certificate)}, nil
}
