package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// clearAlarm takes back etcd's NOSPACE alarm, which refuses every write since
// the database reached its quota. Old revisions are dropped and the file is
// rewritten first. When that gives too little, the alarm stays.
func (s *Store) clearAlarm(ctx context.Context) error {
	alarms, err := call(ctx, s, s.client.AlarmList)
	if err != nil {
		return fmt.Errorf("ask the registry for its alarms: %w", err)
	}
	full := slices.ContainsFunc(alarms.Alarms, func(a *pb.AlarmMember) bool { return a.Alarm == pb.AlarmType_NOSPACE })
	if !full {
		return nil
	}
	size, err := call(ctx, s, s.reclaim)
	if err != nil {
		return fmt.Errorf("make room in the registry's database: %w", err)
	}
	if size >= quotaBytes {
		s.log.Error("the registry's database is full: it can be read, not changed; delete networks", "bytes", size, "dir", s.dir)
		return nil
	}
	_, err = call(ctx, s, func(ctx context.Context) (*clientv3.AlarmResponse, error) {
		return s.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}) // the zero member: every alarm
	})
	if err != nil {
		return fmt.Errorf("clear the registry's alarm: %w", err)
	}
	s.log.Info("the registry's database was full and has room again", "bytes", size, "dir", s.dir)
	return nil
}

// reclaim drops every old revision, rewrites the database file and gives the
// size in bytes that it has then.
func (s *Store) reclaim(ctx context.Context) (int64, error) {
	now, err := s.client.Get(ctx, root, clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	_, err = s.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, err
	}
	if err := s.etcd.Server.Backend().Defrag(); err != nil {
		return 0, err
	}
	return s.etcd.Server.Backend().Size(), nil
}
