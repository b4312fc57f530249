package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

const (
	// standPatience is how long a member may take to say that it serves, before the
	// registry counts as lost: longer than an election and WireGuard's handshakes take.
	standPatience = 6 * time.Second
	// recoverPatience is how long it may take until a member that is the only one serves.
	recoverPatience = 2 * time.Minute
)

// Standing is what one member says of the grid's registry.
type Standing struct {
	Node     string
	Here     bool  // it is this node
	Answers  bool  // but has no majority
	Revision int64 // the last one that it has; 0: not known
	serves   bool
}

// Recovery is what is known of the members of a registry that is lost, and what is still
// to be done after one was recovered.
type Recovery struct {
	Members   []Standing
	Revision  int64     // the last one that this member has
	Confirmed time.Time // when the registry answered this node last
	Warnings  []string
}

// Lost tells how the members of a registry stand that has lost most of them. It is
// refused where a majority is there, where another member has more than this one, and at
// a node that keeps no part of the registry.
func (p *Plane) Lost(ctx context.Context) (*Recovery, error) {
	member, err := p.memberHere()
	if err != nil {
		return nil, err
	}
	r := &Recovery{Revision: member.Revision(), Members: p.standings(ctx)}
	if client := p.Registry(); client != nil {
		r.Confirmed = client.Snapshot().Confirmed
	}
	answer := 0
	for i, s := range r.Members {
		if s.Here {
			r.Members[i].Answers, r.Members[i].Revision = true, r.Revision
		}
		if r.Members[i].Answers {
			answer++
		}
		switch {
		case s.serves:
			return nil, refuse(fmt.Sprintf("the registry is not lost: node %s serves it; see zosnet grid members there, and take out who is gone with zosnet grid demote", s.Node))
		case s.Revision > r.Revision:
			return nil, refuse(fmt.Sprintf("node %s has more of the registry (revision %d) than this one (%d): recover it there", s.Node, s.Revision, r.Revision))
		}
	}
	if all := len(r.Members); answer > all/2 {
		return nil, refuse(fmt.Sprintf("the registry is not lost: %d of its %d members answer, and will agree on a leader; wait a minute", answer, all))
	}
	return r, nil
}

// memberHere gives the member that runs here, and has all that it agreed to.
func (p *Plane) memberHere() (*registry.Member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == nil:
		return nil, ErrNoGrid
	case p.state.Foreign:
		return nil, errForeign
	case p.member == nil && !p.home.HasRegistry():
		return nil, refuse("this node keeps no part of the grid's registry: ask one of " + strings.Join(membersOf(p.state), ", "))
	case p.member == nil && p.failed != nil:
		return nil, refuse(fmt.Sprintf("this member of the grid's registry does not run: %v; see to that first", p.failed))
	case p.member == nil:
		return nil, refuse("this member of the grid's registry is just being started, or given up: ask again in a moment")
	case p.member.Learner():
		return nil, refuse("this node was just being promoted and may have only a part of the registry: ask one of " + strings.Join(membersOf(p.state), ", "))
	}
	return p.member, nil
}

// standings asks every member at once how it stands.
func (p *Plane) standings(ctx context.Context) []Standing {
	ctx, cancel := context.WithTimeout(ctx, standPatience)
	defer cancel()
	state := p.State()
	list := make([]Standing, len(state.Members))
	var asked sync.WaitGroup
	for i, m := range state.Members {
		asked.Go(func() {
			at := registryEndpoints([]grid.Node{m})[0]
			is, err := gridstore.Ask(ctx, at, p.registryTLS())
			list[i] = Standing{Node: m.Name, Here: m.Name == state.Node, Answers: err == nil, Revision: is.Revision}
			if err == nil {
				list[i].serves = gridstore.Serves(ctx, at, p.registryTLS()) == nil
			}
		})
	}
	asked.Wait()
	return list
}

// Recover makes this member the only one of the grid, with all that it has. What the
// others had agreed upon without it is lost, and they are none any more. It is refused
// as Lost is. Certificates by which they were members are taken back, where this node
// has the CA's key; warnings say what remains to be done.
func (p *Plane) Recover(ctx context.Context) (*Recovery, error) {
	r, err := p.Lost(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.change(p.home.SetRecovering); err != nil {
		return nil, err
	}
	p.log.Warn("this member becomes the only one of the grid's registry", "revision", r.Revision)
	wake(p.alone)
	s, err := p.untilAlone(ctx)
	if err != nil {
		return nil, err
	}
	var others []string
	for _, m := range r.Members {
		if !m.Here {
			others = append(others, m.Node)
		}
	}
	r.Warnings, err = p.takeBack(ctx, s, others)
	return r, err
}

// untilAlone waits until this member serves as the only one.
func (p *Plane) untilAlone(ctx context.Context) (*seat, error) {
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	for {
		p.mu.Lock()
		s, state, failed := p.seat, p.state, p.failed
		p.mu.Unlock()
		if s != nil && !state.Recovering {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("this member becomes the only one, and does not serve yet; it is tried again, see its log: %w", errors.Join(ctx.Err(), failed))
		case <-time.After(startEvery):
		}
	}
}

// takeBack takes certificates back by which nodes were members, where this node can, and
// tells what remains to be done.
func (p *Plane) takeBack(ctx context.Context, s *seat, nodes []string) (warnings []string, err error) {
	ca, err := p.home.CA()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, node := range nodes {
		if ca != nil {
			place, err := p.placeOf(ctx, node)
			if err == nil {
				err = p.uncertify(ctx, s.root, ca, *place)
			}
			if err == nil {
				continue
			}
			p.log.Warn("take back the certificate by which a node was a member", "node", node, "error", err)
		}
		warnings = append(warnings, keepsCertificate(node))
	}
	return warnings, nil
}

// beAlone makes this member, which does not run, the only one.
func (p *Plane) beAlone(ctx context.Context) error {
	state, id := p.State(), p.own.Load()
	at := netip.AddrPortFrom(state.Address, clientPort)
	var number uint64
	err := registry.RecoverMember(ctx, p.memberConfig(nil), p.log, func(ctx context.Context, m *registry.Member) (err error) {
		number, err = gridstore.Root(m.AsRoot).Recover(ctx, state.Node, at, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	self := grid.Node{Name: state.Node, Address: state.Address, ControlKey: id.ControlKey, Endpoint: controlEndpoint(p.node())}
	next, err := p.change(func() (*grid.State, error) { return p.home.SetRecovered(number, self) })
	if err != nil {
		return err
	}
	if client := p.Registry(); client != nil {
		client.SetEndpoints(registryEndpoints(next.Members))
	}
	p.log.Warn("this member is the only one of the grid's registry", "recovery", number)
	return nil
}
