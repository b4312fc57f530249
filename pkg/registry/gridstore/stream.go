package gridstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// errCompacted says that what happened since our revision is forgotten.
var errCompacted = errors.New("the history since then was compacted")

// stream is one watch stream of etcd with many watched ranges on it. etcd's own
// client keeps a goroutine and a channel for each range, and cannot tell up to
// which revision all of them have been told.
type stream struct {
	grpc    pb.Watch_WatchClient
	next    int64            // id of the next range
	ids     map[string]int64 // by range
	opening int              // ranges that etcd has not confirmed
	ready   chan struct{}    // there is something in answers
	broken  chan error

	mu      sync.Mutex
	answers []*pb.WatchResponse
}

func openStream(ctx context.Context, etcd *clientv3.Client) (*stream, error) {
	grpc, err := pb.NewWatchClient(etcd.ActiveConnection()).Watch(clientv3.WithRequireLeader(ctx))
	if err != nil {
		return nil, err
	}
	s := &stream{grpc: grpc, ids: map[string]int64{}, ready: make(chan struct{}, 1), broken: make(chan error, 1)}
	go s.receive()
	return s, nil
}

// receive never waits for who reads: etcd stops reading our requests while we do
// not read its answers, and there is one for each range.
func (s *stream) receive() {
	for {
		resp, err := s.grpc.Recv()
		if err != nil {
			s.broken <- err
			return
		}
		s.mu.Lock()
		s.answers = append(s.answers, resp)
		s.mu.Unlock()
		notify(s.ready)
	}
}

// take gives the answers that have come since it was last called.
func (s *stream) take() []*pb.WatchResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.answers
	s.answers = nil
	return list
}

// watch adds a range, from a revision on.
func (s *stream) watch(r string, revision int64) error {
	s.next++
	s.ids[r] = s.next
	s.opening++
	create := &pb.WatchCreateRequest{Key: []byte(r), StartRevision: revision, WatchId: s.next}
	if isPrefix(r) {
		create.RangeEnd = []byte(clientv3.GetPrefixRangeEnd(r))
	}
	return s.grpc.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
}

// unwatch takes a range out. Events of it that are under way still come.
func (s *stream) unwatch(r string) error {
	id, there := s.ids[r]
	if !there {
		return nil
	}
	delete(s.ids, r)
	cancel := &pb.WatchCancelRequest{WatchId: id}
	return s.grpc.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: cancel}})
}

// askProgress makes etcd say up to which revision it has told us of every range.
// It does not answer while it has not.
func (s *stream) askProgress() error {
	return s.grpc.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// toldBy reads one answer: events, or the revision up to which all is told, 0
// where the answer says neither.
func (s *stream) toldBy(resp *pb.WatchResponse) (events []*mvccpb.Event, told int64, err error) {
	if resp.Created {
		s.opening--
	}
	switch {
	case resp.CompactRevision != 0:
		return nil, 0, errCompacted
	case resp.Canceled && resp.Created:
		return nil, 0, fmt.Errorf("watch the grid's registry: %s", resp.CancelReason)
	case resp.Canceled && resp.CancelReason != "":
		return nil, 0, fmt.Errorf("watch the grid's registry: %s", resp.CancelReason)
	case resp.Created || resp.Canceled:
		return nil, 0, nil
	case len(resp.Events) > 0:
		return resp.Events, 0, nil
	case s.opening > 0: // events of a range that is being opened may be held back
		return nil, 0, nil
	}
	return nil, resp.Header.Revision, nil
}
