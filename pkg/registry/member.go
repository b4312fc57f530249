package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// Sizes and times of the embedded member.
const (
	quotaBytes      = 256 << 20 // database; beyond it etcd refuses writes (NOSPACE)
	maxRequestBytes = 8 << 20   // one transaction: all documents of one apply
	maxTxnOps       = 1 << 14   // keys in one transaction
	keepRevisions   = 1000      // history that Watch can start from
	snapshotEntries = 1000      // log entries kept in memory
	segmentBytes    = 8 << 20   // log segment, laid out in advance
	maxSocketPath   = 107       // sun_path less its NUL, unix(7)
	startTimeout    = time.Minute
	stopTimeout     = 15 * time.Second
)

// shrinkLog makes etcd's log segments smaller. Their size is a variable of
// etcd's own, one for the process.
var shrinkLog = sync.OnceFunc(func() { wal.SegmentSizeBytes = segmentBytes })

// memberConfig is a single member in dir that listens on dir/client.sock only.
func memberConfig(dir string, log *slog.Logger, f *failure) (*embed.Config, error) {
	socket := filepath.Join(dir, "client.sock")
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("the registry's socket %s has %d bytes and a unix socket's path at most %d; set a shorter stateDir",
			socket, len(socket), maxSocketPath)
	}
	cfg := embed.NewConfig()
	cfg.Name = "zosnet"
	cfg.Dir = dir
	cfg.ListenPeerUrls = nil
	// The path goes into Host: in Path, etcd would drop the leading part and
	// bind an abstract socket.
	cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Host: socket}}
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "unix", Host: "client.sock"}}
	// A member must name a peer URL. Nothing listens there or dials it.
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.EnableGRPCGateway = false
	cfg.TickMs, cfg.ElectionMs = 100, 500
	cfg.QuotaBackendBytes = quotaBytes
	cfg.MaxRequestBytes = maxRequestBytes
	cfg.MaxTxnOps = maxTxnOps
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = strconv.Itoa(keepRevisions)
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = snapshotEntries, snapshotEntries/10
	cfg.BootstrapDefragThresholdMegabytes = quotaBytes >> 22
	cfg.LogLevel = "error"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newEtcdLogger(log, f))
	return cfg, nil
}

// startMember starts the member and waits until it serves.
func startMember(ctx context.Context, cfg *embed.Config, f *failure) (*embed.Etcd, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	e, err := startEtcd(ctx, cfg, f)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-f.done:
		err = f.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	err = fmt.Errorf("start the registry in %s: %w", cfg.Dir, err)
	return nil, errors.Join(err, stopMember(e, f, func() {}))
}

// startEtcd starts the member and returns once it listens. It runs in a goroutine
// of its own, since a fatal log entry ends the goroutine it is in.
func startEtcd(ctx context.Context, cfg *embed.Config, f *failure) (*embed.Etcd, error) {
	shrinkLog()
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				f.set(fmt.Errorf("start: %v", r))
			}
		}()
		e, err := embed.StartEtcd(cfg)
		started <- result{e, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case r := <-started:
		if r.err != nil {
			return nil, fmt.Errorf("start the registry in %s: %w%s", cfg.Dir, r.err, unwritableAdvice(r.err))
		}
		return r.etcd, nil
	case <-f.done:
		return nil, f.err
	case <-ctx.Done():
		go func() { // never serve behind the caller's back
			if r := <-started; r.etcd != nil {
				r.etcd.Close()
			}
		}()
		return nil, fmt.Errorf("start the registry in %s: %w", cfg.Dir, ctx.Err())
	}
}

// stopMember stops the member after what else must stop before it. A member
// that has failed may hold its locks for ever, so it is waited for only a while.
func stopMember(e *embed.Etcd, f *failure, before func()) error {
	f.stopping.Store(true)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		before()
		e.Close()
	}()
	wait := stopTimeout
	select {
	case <-f.done:
		if !errors.Is(f.err, ErrRemoved) {
			wait = time.Second
		}
	default:
	}
	select {
	case <-stopped:
		return nil
	case <-time.After(wait):
		return fmt.Errorf("stop the registry in %s: it did not stop within %s", f.dir, wait)
	}
}

// makeDirs makes STATEDIR and STATEDIR/etcd; the latter is root's alone also if
// it was there before, for the socket lies in it.
func makeDirs(stateDir string) (etcdDir string, fresh bool, err error) {
	etcdDir = filepath.Join(stateDir, "etcd")
	for _, dir := range []string{stateDir, etcdDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", false, fmt.Errorf("make the state directory: %w%s", err, unwritableAdvice(err))
		}
	}
	if err := os.Chmod(etcdDir, 0o700); err != nil {
		return "", false, fmt.Errorf("make the state directory private: %w%s", err, unwritableAdvice(err))
	}
	_, err = os.Stat(filepath.Join(etcdDir, "member"))
	return etcdDir, os.IsNotExist(err), nil
}
