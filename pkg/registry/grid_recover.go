package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// RecoverMember makes this member the only one of its grid, with all that its
// directory has: for a grid that has lost most of its members for good. What they had
// agreed upon without this one is lost. It must not run. Nobody is served
// meanwhile: the member listens nowhere, and change makes the registry what it is to be
// from then on. After it StartMember is as ever; after a crash it is called again, for
// what it left is no registry yet. The others hear from this member that they are none
// any more (ErrRemoved there), those excepted whose certificates were revoked.
func RecoverMember(ctx context.Context, cfg MemberConfig, log *slog.Logger, change func(context.Context, *Member) error) error {
	f := newFailure(cfg.Dir)
	etcd := cfg.etcd(log, f)
	// etcd drops what was not agreed upon yet, and takes every other member out.
	etcd.ForceNewCluster = true
	etcd.ListenPeerUrls, etcd.ListenClientUrls = nil, nil
	m, err := startMemberAs(ctx, cfg, etcd, f)
	if err != nil {
		return err
	}
	return errors.Join(m.beAlone(ctx, change), m.Close())
}

func (m *Member) beAlone(ctx context.Context, change func(context.Context, *Member) error) error {
	select {
	case <-m.Ready():
	case <-m.Failed():
		return m.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startTimeout):
		return fmt.Errorf("the grid's registry in %s does not come up as a single member within %s", m.failed.dir, startTimeout)
	}
	members, err := m.Members(ctx)
	if err != nil {
		return err
	}
	if len(members) != 1 || members[0].Name != m.name {
		return fmt.Errorf("the grid's registry in %s has the members %v, want %s alone", m.failed.dir, members, m.name)
	}
	return change(ctx, m)
}

// Learner says that this member hears everything and has no vote yet: what it has may
// be only a part.
func (m *Member) Learner() bool { return m.etcd.Server.IsLearner() }

// Revision gives up to which revision this member has what the grid agreed upon.
func (m *Member) Revision() int64 { return m.etcd.Server.KV().Rev() }
