package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// memberPatience is how long a member may take to serve.
const memberPatience = time.Minute

// seat is what a node administers the grid's registry by.
type seat struct {
	member *registry.Member // nil: somebody else runs the registry
	root   gridstore.Root
}

// errDemoted ends a member whose certificate is not one of a member any more.
var errDemoted = errors.New("this node's certificate is not one of a member any more")

// serveRegistry makes this node a member whenever it is to be one, until ctx ends.
// What fails is tried again; the node's copy of the registry does not wait for it.
func (p *Plane) serveRegistry(ctx context.Context) {
	for ctx.Err() == nil {
		cluster, is := p.cluster()
		if !is {
			select {
			case <-ctx.Done():
			case <-p.place:
			}
			continue
		}
		err := p.beMember(ctx, cluster)
		if errors.Is(err, errAlone) {
			continue
		}
		if errors.Is(err, registry.ErrRemoved) || errors.Is(err, errDemoted) || errors.Is(err, errSuperseded) {
			p.log.Info("this node is no member of the grid's registry any more", "reason", err)
			if err = p.home.RemoveRegistry(); err == nil {
				continue
			}
		}
		if ctx.Err() == nil {
			p.fail(fmt.Errorf("this member of the grid's registry: %w", err))
			pause(ctx, retryAfter)
		}
	}
}

// cluster says whether this node is to be a member, and which others there are when
// it starts for the first time: none makes a new registry.
func (p *Plane) cluster() (cluster map[string]netip.AddrPort, is bool) {
	state, id := p.State(), p.own.Load()
	if !id.Member {
		return nil, p.home.HasRegistry() // what is left of it is to be cleared away
	}
	if state.Founding || p.home.HasRegistry() {
		return nil, true
	}
	client := p.Registry()
	if client == nil {
		return nil, false
	}
	self := client.Snapshot().Nodes[state.Node]
	if self == nil || len(self.Joining) == 0 {
		return nil, false
	}
	return self.Joining, true
}

// beMember runs this member until it fails, is no member any more, or ctx ends.
func (p *Plane) beMember(ctx context.Context, cluster map[string]netip.AddrPort) error {
	if !p.own.Load().Member {
		return errDemoted
	}
	if err := p.ofRecovery(ctx, len(cluster) > 0); err != nil {
		return err
	}
	member, err := registry.StartMember(ctx, p.memberConfig(cluster), p.log)
	if err != nil {
		return err
	}
	p.setMember(member)
	defer p.setMember(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.untilDemoted(ctx, member) })
	g.Go(func() error {
		if err := p.untilReady(ctx, member); err != nil || ctx.Err() != nil {
			return err
		}
		root := gridstore.Root(member.AsRoot)
		if err := p.found(ctx, root); err != nil {
			return err
		}
		p.sit(&seat{member, root})
		defer p.sit(nil)
		return p.invite(ctx, root)
	})
	return errors.Join(g.Wait(), member.Close())
}

func (p *Plane) memberConfig(cluster map[string]netip.AddrPort) registry.MemberConfig {
	state, files := p.State(), p.home.Files()
	return registry.MemberConfig{
		Name: state.Node, Dir: p.home.RegistryDir(), Members: cluster,
		Client: netip.AddrPortFrom(state.Address, clientPort), Peer: netip.AddrPortFrom(state.Address, peerPort),
		CertFile: files.Certificate, KeyFile: files.Key, CAFile: files.CAs, RevokedFile: files.Revocations,
	}
}

func (p *Plane) setMember(m *registry.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.member = m
}

func (p *Plane) sit(s *seat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seat = s
}

// untilDemoted waits until a member has stopped, or is to.
func (p *Plane) untilDemoted(ctx context.Context, member *registry.Member) error {
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.alone:
			if p.State().Recovering {
				return errAlone
			}
		case <-ask.C:
			if p.superseded(ctx) {
				return errSuperseded
			}
		case <-member.Failed():
			return member.Err()
		case <-p.place:
			if !p.own.Load().Member {
				return errDemoted
			}
		}
	}
}

// untilReady waits until a member serves.
func (p *Plane) untilReady(ctx context.Context, member *registry.Member) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-member.Ready():
			return nil
		case <-time.After(memberPatience):
			p.fail(errors.New("this member of the grid's registry does not serve yet: are most of the other members there?"))
		}
	}
}

// found protects the grid's first registry and lets its first node in. A founding
// that crashed is finished by the next one.
func (p *Plane) found(ctx context.Context, root gridstore.Root) error {
	state, id := p.State(), p.own.Load()
	if !state.Founding {
		return nil
	}
	protect := root.Protect
	if state.Foreign {
		protect = root.Protected
	}
	if err := protect(ctx); err != nil {
		return err
	}
	self := gridstore.Admission{Node: state.Node, Address: state.Address, ControlKey: id.ControlKey, Admitted: time.Now()}
	if err := root.Admit(ctx, self, id.pem, "", nil); err != nil {
		return err
	}
	if err := root.PutRevocations(ctx, nil, id.roots.Revocations()); err != nil && !errors.Is(err, gridstore.ErrStale) {
		return err
	}
	if !state.Foreign {
		if err := root.PutMember(ctx, state.Node, netip.AddrPortFrom(state.Address, clientPort), nil); err != nil {
			return err
		}
	}
	if _, err := p.change(p.home.SetFounded); err != nil {
		return err
	}
	close(p.founded)
	return nil
}

// fail notes why this node's part is not up, and says so.
func (p *Plane) fail(err error) {
	p.mu.Lock()
	p.failed = err
	p.mu.Unlock()
	p.log.Error("this node's part in the grid; it is tried again", "error", err)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// isMember says whether this node is one of the members, as far as it knows.
func (p *Plane) isMember(state *grid.State) bool {
	return slices.Contains(membersOf(state), state.Node)
}

func membersOf(s *grid.State) (names []string) {
	for _, m := range s.Members {
		names = append(names, m.Name)
	}
	return names
}
