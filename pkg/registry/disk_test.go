package registry

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a tmpfs of so many MiB. It goes with the mount namespace.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill leaves so many bytes free on the disk of dir, as good as it can.
func fill(t *testing.T, dir string, leave uint64) (free func()) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fmt.Sprintf("ballast-%d", leave))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if size := int64(st.Bavail*uint64(st.Bsize)) - int64(leave); size > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	disk := smallDisk(t, 64)
	dir := filepath.Join(disk, "state")

	free := fill(t, disk, spaceToCreate-1)
	_, err := Open(t.Context(), dir, quiet(t))
	if e := wantError[*NoSpaceError](t, err); e.Need != spaceToCreate || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("new on a full disk: %v", err)
	}
	free()

	s := openStore(t, dir)
	put(t, s, "acme", "web")
	attach(t, s, "acme", "web", "web-1")
	free = fill(t, disk, spaceToRemove+1<<20)
	_, err = s.PutNetwork(t.Context(), "n1", nodePrefixes, "late", "f", nil, nil)
	if e := wantError[*NoSpaceError](t, err); e.Need != spaceToAdd {
		t.Errorf("apply on a full disk: %v", err)
	}
	if snap := snapshot(t, s); len(snap.Networks) != 1 || len(snap.Attachments) != 1 {
		t.Errorf("a full disk cannot be read: %+v", snap)
	}
	if err := s.DeleteAttachment(t.Context(), "acme", "web-1"); err != nil {
		t.Errorf("detach on a full disk: %v", err)
	}
	fillRest := fill(t, disk, 0)
	_ = wantError[*NoSpaceError](t, s.DeleteNetwork(t.Context(), "acme", false))
	closeStore(t, s)
	_, err = Open(t.Context(), dir, quiet(t))
	if e := wantError[*NoSpaceError](t, err); e.Need != spaceToOpen {
		t.Errorf("restart on a full disk: %v", err)
	}
	fillRest()
	free()
	s = openStore(t, dir)
	put(t, s, "late", "web")
}

// TestMemberStops: when etcd itself meets a full disk, it stops with a reason
// and takes neither the process nor the data with it.
func TestMemberStops(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	disk := smallDisk(t, 64)
	dir := filepath.Join(disk, "state")
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler)) // etcd will complain
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "acme", "web")
	changed := s.Watch(t.Context(), snapshot(t, s).Revision)
	free := fill(t, disk, 0)
	value := strings.Repeat("x", 1<<20)
	for i := 0; i < 100 && err == nil; i++ { // past the check of free space, as if the disk filled in between
		_, err = call(t.Context(), s, func(ctx context.Context) (*clientv3.PutResponse, error) {
			return s.client.Put(ctx, fmt.Sprintf("/elsewhere/%d", i), value)
		})
	}
	select {
	case <-s.Failed():
	case <-time.After(time.Minute):
		t.Fatalf("it did not fail; last error %v", err)
	}
	_, err = s.Snapshot(t.Context())
	if e := wantError[*FailedError](t, err); e.Dir != filepath.Join(dir, "etcd") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
	_ = wantError[*FailedError](t, s.DeleteAttachment(t.Context(), "acme", "x"))
	for range changed { // ends, since it is closed
	}
	closing := time.Now()
	if err := s.Close(); time.Since(closing) > 30*time.Second {
		t.Errorf("close took %s and gave %v", time.Since(closing), err)
	} else if err != nil { // what it still holds is free when the process ends, not before
		_, err := Open(t.Context(), dir, quiet(t))
		_ = wantError[*LockedError](t, err)
	}
	free()
	after := t.TempDir()
	if err := os.CopyFS(filepath.Join(after, "etcd/member"), os.DirFS(filepath.Join(dir, "etcd/member"))); err != nil {
		t.Fatal(err)
	}
	if n := len(snapshot(t, openStore(t, after)).Networks); n != 1 {
		t.Errorf("the next process finds %d networks", n)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	disk := smallDisk(t, 64)
	s := openStore(t, disk)
	closeStore(t, s)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{disk, filepath.Join(disk, "new")} {
		_, err := Open(t.Context(), dir, quiet(t))
		if err == nil || !strings.Contains(err.Error(), "mount it read-write") {
			t.Errorf("%s: error %v", dir, err)
		}
	}
}

// TestBrokenData runs in a process of its own: etcd never lets go of a database
// that it could not open.
func TestBrokenData(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	for file, what := range map[string]string{"member/snap/db": "database", "member/wal/0000000000000000-0000000000000000.wal": "log"} {
		dir := t.TempDir()
		s := openStore(t, dir)
		put(t, s, "acme", "web")
		closeStore(t, s)
		garbage := bytes.Repeat([]byte("this is no "+what), 10000)
		if err := os.WriteFile(filepath.Join(dir, "etcd", file), garbage, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
		e := wantError[*FailedError](t, err)
		t.Logf("%s: %v", what, e)
	}
}

func TestFullDatabase(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	activate := func() {
		t.Helper()
		_, err := s.etcd.Server.Alarm(t.Context(), &pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, MemberID: uint64(s.etcd.Server.MemberID()), Alarm: pb.AlarmType_NOSPACE,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	activate()
	put(t, s, "acme", "web") // clears it, since there is room
	activate()
	closeStore(t, s)
	s = openStore(t, dir)
	alarms, err := s.client.AlarmList(t.Context())
	if err != nil || len(alarms.Alarms) != 0 {
		t.Errorf("after a restart: %v, %v", alarms, err)
	}
}

// TestHistoryFillsDatabase writes more than the quota over and over one key, so
// that what fills the database is history.
func TestHistoryFillsDatabase(t *testing.T) {
	s := openStore(t, t.TempDir())
	document := bytes.Repeat([]byte("x"), 6<<20)
	for i := range quotaBytes/len(document) + 5 {
		document[0] = byte('a' + i%26)
		if _, err := s.PutNetwork(t.Context(), "n1", nodePrefixes, "acme", "f", document, nil); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
	if size := s.etcd.Server.Backend().Size(); size >= quotaBytes {
		t.Errorf("the database has %d bytes", size)
	}
}
