package registry

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Watch tells of changes after fromRevision, usually a Snapshot's. The channel
// holds one element: any number of changes that the reader has not taken yet are
// one. It is closed when ctx ends, and when the Store is closed or has failed.
func (s *Store) Watch(ctx context.Context, fromRevision int64) <-chan struct{} {
	changed := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	s.watches.Add(1)
	go func() {
		defer s.watches.Done()
		defer close(changed)
		go func() { // the watch itself may hang with a failed member
			defer cancel()
			select {
			case <-s.closing:
			case <-s.failed.done:
			case <-ctx.Done():
			}
		}()
		s.follow(ctx, fromRevision+1, changed)
		cancel()
	}()
	return changed
}

// follow reports events from a revision on until ctx ends or the watch does.
func (s *Store) follow(ctx context.Context, revision int64, changed chan<- struct{}) {
	for ctx.Err() == nil {
		compacted := int64(0)
		for resp := range s.client.Watch(ctx, root, clientv3.WithPrefix(), clientv3.WithRev(revision)) {
			if resp.CompactRevision != 0 {
				compacted = resp.CompactRevision
			}
			if len(resp.Events) > 0 || compacted != 0 {
				notify(changed)
			}
		}
		if compacted == 0 {
			return
		}
		revision = compacted // what lies before is gone, so something has changed
	}
}

func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
