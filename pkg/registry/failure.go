package registry

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// failure remembers why the member stopped. etcd reports what it cannot survive
// by a log entry of level fatal or panic, which would end the process; as the
// hook of such entries, failure keeps the reason and ends only the goroutine.
type failure struct {
	dir  string
	once sync.Once
	done chan struct{} // closed once err is set
	err  error

	stopping atomic.Bool // we are stopping the member
}

func newFailure(dir string) *failure { return &failure{dir: dir, done: make(chan struct{})} }

func (f *failure) set(cause error) {
	f.once.Do(func() {
		f.err = &FailedError{Dir: f.dir, Cause: cause}
		close(f.done)
	})
}

// OnWrite is zap's hook after a fatal or panic entry. It does not return: the
// code that logged the entry relies on that.
func (f *failure) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	cause := errors.New(entry.Message)
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
			cause = &etcdError{message: entry.Message, err: err}
		}
	}
	f.set(cause)
	runtime.Goexit()
}

// etcdError is a log entry of etcd that carried an error.
type etcdError struct {
	message string
	err     error
}

func (e *etcdError) Error() string { return e.message + ": " + e.err.Error() }
func (e *etcdError) Unwrap() error { return e.err }

// newEtcdLogger gives etcd a logger that hands errors to log and the rest to
// nobody.
func newEtcdLogger(log *slog.Logger, f *failure) *zap.Logger {
	core := slogCore{log: log.With("component", "etcd"), stopping: &f.stopping}
	return zap.New(core, zap.WithFatalHook(f), zap.WithPanicHook(f))
}

// slogCore writes zap entries of level error and above to slog. While the
// member stops, etcd calls each listener that it closes an error; those are left
// out, and what is worse than an error is not.
type slogCore struct {
	log      *slog.Logger
	stopping *atomic.Bool
}

func (slogCore) Enabled(l zapcore.Level) bool { return l >= zapcore.ErrorLevel }

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{log: slog.New(c.log.Handler().WithAttrs(attrs(fields))), stopping: c.stopping}
}

func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Level == zapcore.ErrorLevel && (c.stopping.Load() || isEarly(e, fields)) {
		return nil
	}
	c.log.LogAttrs(context.Background(), slog.LevelError, e.Message, attrs(fields)...)
	return nil
}

// isEarly tells what etcd says when it looks for the version of a new database
// before the first commit, which brings the term. It looks again soon.
func isEarly(e zapcore.Entry, fields []zapcore.Field) bool {
	return e.Message == "failed to update storage version" && slices.ContainsFunc(fields, func(f zapcore.Field) bool {
		err, ok := f.Interface.(error)
		return ok && strings.Contains(err.Error(), "missing term information")
	})
}

func (slogCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		out = append(out, slog.Any(k, v))
	}
	return out
}
