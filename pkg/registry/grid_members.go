package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	retryEvery  = 200 * time.Millisecond
	leadTimeout = 3 * time.Second
)

// GridMember is one member of the cluster, as the cluster has it.
type GridMember struct {
	Name    string // empty until it has started
	Peer    netip.AddrPort
	Client  netip.AddrPort // not valid until it has started
	Learner bool           // hears everything, does not vote
	Leads   bool
	id      uint64
}

// Members gives the members by name.
func (m *Member) Members(ctx context.Context) ([]GridMember, error) {
	var resp *clientv3.MemberListResponse
	err := m.until(ctx, settled, func(ctx context.Context, root *clientv3.Client) (err error) {
		resp, err = root.MemberList(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask the grid for its members: %w", err)
	}
	var list []GridMember
	for _, one := range resp.Members {
		g := GridMember{Name: one.Name, Learner: one.IsLearner, Leads: one.ID == uint64(m.etcd.Server.Leader()), id: one.ID}
		for _, at := range []struct {
			urls []string
			into *netip.AddrPort
		}{{one.PeerURLs, &g.Peer}, {one.ClientURLs, &g.Client}} {
			if len(at.urls) > 0 {
				if *at.into, err = addressOf(at.urls[0]); err != nil {
					return nil, fmt.Errorf("member %q of the grid: %w", one.Name, err)
				}
			}
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b GridMember) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func addressOf(text string) (netip.AddrPort, error) {
	u, err := url.Parse(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(u.Host)
}

// AddMember prepares the grid for one more member, a learner, and gives what its
// MemberConfig.Members is to be. The same again gives the same. Start it, then
// Promote it: an added member that never starts cannot cost the majority. etcd
// wants all members to have seen each other for 5 s; ctx bounds the wait.
func (m *Member) AddMember(ctx context.Context, name string, peer netip.AddrPort) (map[string]netip.AddrPort, error) {
	members, err := m.Members(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]netip.AddrPort{name: peer}
	added := false
	for _, one := range members {
		switch {
		case one.Peer == peer && (one.Name == "" || one.Name == name):
			added = true
		case one.Name == name:
			return nil, fmt.Errorf("add member %q to the grid: it is one already, at %s; remove that one first", name, one.Peer)
		case one.Name == "":
			return nil, fmt.Errorf("add member %q to the grid: the one at %s was added and has not started; start or remove it first", name, one.Peer)
		default:
			all[one.Name] = one.Peer
		}
	}
	if added {
		return all, nil
	}
	at := secure(peer)
	err = m.until(ctx, settled, func(ctx context.Context, root *clientv3.Client) error {
		_, err := root.MemberAddAsLearner(ctx, []string{at.String()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add member %q at %s to the grid: %w", name, peer, err)
	}
	return all, nil
}

// Promote gives a learner its vote, as soon as it has caught up; ctx bounds the
// wait. One that votes already is fine.
func (m *Member) Promote(ctx context.Context, name string) error {
	one, err := m.member(ctx, name, func(g GridMember) bool { return g.Name == name })
	if err != nil || !one.Learner {
		return err
	}
	err = m.until(ctx, func(err error) bool { return err == nil }, func(ctx context.Context, root *clientv3.Client) error {
		if err := m.lead(ctx); err != nil {
			return err
		}
		_, err := root.MemberPromote(ctx, one.id)
		if errors.Is(err, rpctypes.ErrMemberNotLearner) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("promote member %q of the grid: %w", name, err)
	}
	return nil
}

// lead makes this member the leader. A member that is not passes a promotion on to
// the leader without saying who asks, and is refused.
func (m *Member) lead(ctx context.Context) error {
	if m.Leads() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, leadTimeout) // raft may give up without a word
	defer cancel()
	server := m.etcd.Server
	return server.MoveLeader(ctx, uint64(server.Leader()), uint64(server.MemberID()))
}

// settled is false while a leader is being elected, or the members have not seen
// each other for long enough.
func settled(err error) bool {
	return !errors.Is(err, rpctypes.ErrUnhealthy) && !errors.Is(err, rpctypes.ErrLeaderChanged) && !errors.Is(err, rpctypes.ErrNoLeader)
}

// NoMajority says that something was not done because too few members answer, as far as
// its error tells.
func NoMajority(err error) bool {
	for _, reason := range []error{context.DeadlineExceeded, rpctypes.ErrNoLeader, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail,
		rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// until repeats a request of root until its answer is final, at most for a minute. When
// ctx ends an attempt, the last answer there was says why.
func (m *Member) until(ctx context.Context, final func(error) bool, request func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var last error
	for {
		err := m.AsRoot(ctx, request)
		switch {
		case err != nil && ctx.Err() != nil && last != nil:
			return fmt.Errorf("%w (%w)", last, err)
		case final(err):
			return err
		}
		last = err
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-m.failed.done:
			return m.failed.err
		case <-time.After(retryEvery):
		}
	}
}

// ErrMajority says that what is left would be no majority.
var ErrMajority = errors.New("too few of the other members are there to go on without it: bring those back first")

// Remove takes a member out of the grid; its etcd then stops by itself. One that
// is not there gives a *NotFoundError. What would cost the majority is refused once
// ctx ends, with ErrMajority.
func (m *Member) Remove(ctx context.Context, peer netip.AddrPort) error {
	is := func(g GridMember) bool { return g.Peer == peer }
	one, err := m.member(ctx, peer.String(), is)
	if err != nil {
		return err
	}
	if err = m.remove(ctx, one.id); NoMajority(err) && !costsMajority(err) && ctx.Err() == nil {
		// raft drops a change of members without a word while another is under way, and
		// of two members the one that goes may take the answer with it.
		if err = m.gone(ctx, is); err != nil {
			err = m.remove(ctx, one.id)
		}
	}
	if costsMajority(err) {
		err = fmt.Errorf("%w (%w)", ErrMajority, err)
	}
	if err != nil {
		return fmt.Errorf("remove member %q at %s from the grid: %w", one.Name, peer, err)
	}
	return nil
}

// costsMajority says that a removal was refused, since what is left would be no majority.
func costsMajority(err error) bool {
	return errors.Is(err, rpctypes.ErrUnhealthy) || errors.Is(err, rpctypes.ErrMemberNotEnoughStarted)
}

// remove takes a member out; that it is gone already is fine.
func (m *Member) remove(ctx context.Context, id uint64) error {
	return m.until(ctx, settled, func(ctx context.Context, root *clientv3.Client) error {
		if _, err := root.MemberRemove(ctx, id); !errors.Is(err, rpctypes.ErrMemberNotFound) {
			return err
		}
		return nil
	})
}

// gone gives nil where no member is such a one.
func (m *Member) gone(ctx context.Context, is func(GridMember) bool) error {
	members, err := m.Members(ctx)
	if err == nil && slices.ContainsFunc(members, is) {
		err = errors.New("it is still there")
	}
	return err
}

func (m *Member) member(ctx context.Context, name string, is func(GridMember) bool) (GridMember, error) {
	members, err := m.Members(ctx)
	if err != nil {
		return GridMember{}, err
	}
	if i := slices.IndexFunc(members, is); i >= 0 {
		return members[i], nil
	}
	return GridMember{}, &NotFoundError{Kind: "member", Name: name}
}
