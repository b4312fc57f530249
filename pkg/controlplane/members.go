package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/registry"
)

// Members is who keeps the grid's registry.
type Members struct {
	List     []Member
	Warnings []string // what is wrong with their number
}

// Member is one node that keeps the grid's registry.
type Member struct {
	Node    string
	Address netip.AddrPort // where it serves the registry's clients; not valid: it does not yet
	Role    string         // leader; voter; learner, which has no vote yet; member, where this node is none and cannot tell
}

// tellPatience is how long the members are asked who they are.
const tellPatience = 10 * time.Second

// Members tells who the members are: as they themselves have it, or at a node that is
// none as it has heard.
func (p *Plane) Members(ctx context.Context) (*Members, error) {
	s, err := p.administer()
	if err == nil && s.member != nil {
		asking, cancel := context.WithTimeout(ctx, tellPatience)
		defer cancel()
		list, err := s.members(asking)
		return list, p.orLost(err)
	}
	state := p.State()
	switch {
	case state == nil:
		return nil, err
	case state.Foreign:
		return nil, errForeign
	}
	list := &Members{}
	for _, m := range state.Members {
		list.List = append(list.List, Member{Node: m.Name, Address: netip.AddrPortFrom(m.Address, clientPort), Role: "member"})
	}
	return list, nil
}

// Promote makes a node a member, at one that has the CA's key. If it fails half-way, the
// same again goes on from there.
func (p *Plane) Promote(ctx context.Context, node string) (*Members, error) {
	s, err := p.chooseMembers()
	if err != nil {
		return nil, err
	}
	if err := p.promote(ctx, s, node); err != nil {
		if _, refused := errors.AsType[*RefusedError](err); refused {
			return nil, fmt.Errorf("promote node %s: %w", node, err)
		}
		return nil, fmt.Errorf("promote node %s: %w; the same again goes on from there", node, p.orLost(err))
	}
	return s.members(ctx)
}

// Demote takes a node out of the members, also one that is gone. Where this node has no
// CA's key, a warning says what remains to be done at one that has.
func (p *Plane) Demote(ctx context.Context, node string) (*Members, error) {
	s, err := p.chooseMembers()
	if err != nil {
		return nil, err
	}
	warning, err := p.demote(ctx, s, node)
	if err != nil {
		return nil, fmt.Errorf("demote node %s: %w", node, p.orLost(err))
	}
	list, err := s.members(ctx)
	if errors.Is(err, registry.ErrRemoved) { // this was that node
		list, err = &Members{}, nil
	}
	if err == nil && warning != "" {
		list.Warnings = append(list.Warnings, warning)
	}
	return list, err
}

// chooseMembers gives what this node changes the members by.
func (p *Plane) chooseMembers() (*seat, error) {
	s, err := p.administer()
	if err == nil && s.member == nil {
		err = errForeign
	}
	return s, err
}

// members tells who the members are, and what is wrong with their number.
func (s *seat) members(ctx context.Context) (*Members, error) {
	members, err := s.member.Members(ctx)
	if err != nil {
		return nil, err
	}
	list := &Members{}
	voters := 0
	for _, m := range members {
		role := "voter"
		switch {
		case m.Learner:
			role = "learner"
		case m.Leads:
			role = "leader"
		}
		if !m.Learner {
			voters++
		}
		list.List = append(list.List, Member{Node: m.Name, Address: m.Client, Role: role})
	}
	switch {
	case voters < 3:
		list.Warnings = append(list.Warnings, fmt.Sprintf("%d of 3: while there are fewer than three members, the loss of one stops every change", voters))
	case voters%2 == 0:
		list.Warnings = append(list.Warnings, fmt.Sprintf("%d members survive the loss of no more than %d do: promote or demote one", voters, voters-1))
	}
	return list, nil
}
