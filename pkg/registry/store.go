package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// callTimeout bounds one request to the member.
const callTimeout = 10 * time.Second

// Store is an open registry. Its methods may be called from several goroutines.
type Store struct {
	dir    string // STATEDIR/etcd
	log    *slog.Logger
	now    func() time.Time
	lock   *stateLock
	etcd   *embed.Etcd
	client *clientv3.Client // calls the member in process
	failed *failure
	writer chan struct{} // holds one token: changes of this process do not retry each other

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
	watches   sync.WaitGroup
}

// Open starts the registry in stateDir, which is made if it is not there, and
// waits until it serves. Errors: *LockedError when another process has it open,
// *NoSpaceError when the disk is full, *FailedError when its data cannot be used.
func Open(ctx context.Context, stateDir string, log *slog.Logger) (*Store, error) {
	dir, fresh, err := makeDirs(stateDir)
	if err != nil {
		return nil, err
	}
	lock, err := lockState(stateDir)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, dir, fresh, log)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	s.lock = lock
	return s, nil
}

func open(ctx context.Context, dir string, fresh bool, log *slog.Logger) (*Store, error) {
	need := uint64(spaceToOpen)
	if fresh {
		need = spaceToCreate
	}
	if err := wantSpace(dir, need); err != nil {
		return nil, err
	}
	f := newFailure(dir)
	cfg, err := memberConfig(dir, log, f)
	if err != nil {
		return nil, err
	}
	e, err := startMember(ctx, cfg, f)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, log: log, now: time.Now, etcd: e, client: v3client.New(e.Server), failed: f,
		writer: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	if err := s.clearAlarm(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// Failed is closed when the member had to stop by itself (disk full, data
// broken). Every call then gives a *FailedError; only a new process helps.
func (s *Store) Failed() <-chan struct{} { return s.failed.done }

// Close stops the registry. Channels from Watch are closed. It may be called
// more than once. After a failure the member may keep its files; the state
// directory then stays locked until the process ends.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		if s.closeErr = s.stop(); s.closeErr == nil {
			s.closeErr = s.lock.release()
		}
	})
	return s.closeErr
}

// stop stops the member, or says that it would not stop.
func (s *Store) stop() error {
	close(s.closing)
	return stopMember(s.etcd, s.failed, func() {
		s.watches.Wait()
		_ = s.client.Close() // says context canceled to its own close
	})
}

// call runs one request against the store's member.
func call[T any](ctx context.Context, s *Store, request func(context.Context) (T, error)) (T, error) {
	return ask(ctx, s.failed, s.closing, request)
}

// ask runs one request against a member in a goroutine of its own: a fatal log
// entry of etcd may end that goroutine, and a failed member may never answer.
func ask[T any](ctx context.Context, f *failure, closing <-chan struct{}, request func(context.Context) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := request(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-f.done:
		return none, f.err
	case <-closing:
		return none, ErrClosed
	case <-ctx.Done():
		return none, fmt.Errorf("the registry in %s did not answer: %w", f.dir, ctx.Err())
	}
}
