package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a daemon that answers as a test wants it to.
type answering struct {
	Server  // nil: nothing else is asked
	apply   func(*ApplyRequest) (*ApplyResponse, error)
	monitor func(grpc.ServerStreamingServer[Event]) error
}

func (d *answering) Apply(_ context.Context, r *ApplyRequest) (*ApplyResponse, error) {
	return d.apply(r)
}

func (d *answering) Monitor(_ *MonitorRequest, stream grpc.ServerStreamingServer[Event]) error {
	return d.monitor(stream)
}

// codeOf takes an *Error's own code, as the daemon does.
func codeOf(err error) codes.Code {
	var known *Error
	if errors.As(err, &known) {
		return known.Code
	}
	return codes.Internal
}

// serve runs a daemon on a socket of its own until the test, or stop, ends it.
func serve(t *testing.T, daemon Server) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", "zosnet.sock")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, daemon, codeOf, 100*time.Millisecond) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return path, stop
}

func connect(t *testing.T, path string) *Client {
	t.Helper()
	client, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// A document may have a thousand problems; every line of them arrives.
func TestEveryProblemArrives(t *testing.T) {
	var lines []string
	for i := range 1000 {
		lines = append(lines, fmt.Sprintf("/etc/zosnet/acme.yaml:%d:12: rules[%d].allow.to: found %q, expected a service", i+1, i, strings.Repeat("ü", 40)))
	}
	all := strings.Join(lines, "\n")
	path, _ := serve(t, &answering{apply: func(*ApplyRequest) (*ApplyResponse, error) {
		return nil, &Error{Code: codes.InvalidArgument, Message: all}
	}})
	_, err := connect(t, path).Apply(t.Context(), &ApplyRequest{})
	if !Invalid(err) || Unreachable(err) {
		t.Errorf("the error is not about a document: %v", err)
	}
	if err == nil || err.Error() != all {
		t.Errorf("got %.200v", err)
	}
}

func TestLargeDocuments(t *testing.T) {
	path, _ := serve(t, &answering{apply: func(r *ApplyRequest) (*ApplyResponse, error) {
		return &ApplyResponse{Revision: int64(len(r.Documents))}, nil
	}})
	request := &ApplyRequest{}
	for range 20 {
		request.Documents = append(request.Documents, &Document{Text: make([]byte, 1<<20)})
	}
	response, err := connect(t, path).Apply(t.Context(), request)
	if err != nil || response.Revision != 20 {
		t.Errorf("got %v, %v", response, err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	listener, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()
	for _, tt := range []struct{ name, path, want string }{
		{"no socket", filepath.Join(dir, "none.sock"), "no such file or directory; start it"},
		{"a socket that nobody listens on", stale, "connection refused; start it"},
		{"a path that is too long", "/" + strings.Repeat("x", 200), "is it the right socket?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Dial(t.Context(), tt.path)
			if !Unreachable(err) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("got %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestDaemonGoesDuringACall(t *testing.T) {
	asked := make(chan struct{})
	path, stop := serve(t, &answering{monitor: func(s grpc.ServerStreamingServer[Event]) error {
		if err := s.Send(&Event{Reason: "lockdown"}); err != nil {
			return err
		}
		close(asked)
		<-s.Context().Done()
		return s.Context().Err()
	}})
	stream, err := connect(t, path).Monitor(t.Context(), &MonitorRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := stream.Recv(); err != nil || e.Reason != "lockdown" {
		t.Fatalf("got %v, %v", e, err)
	}
	<-asked
	stop()
	if _, err := stream.Recv(); !Unreachable(err) || !strings.Contains(err.Error(), "went away") {
		t.Errorf("got %v", err)
	}
}

func TestStreamEnds(t *testing.T) {
	path, _ := serve(t, &answering{monitor: func(grpc.ServerStreamingServer[Event]) error { return nil }})
	stream, err := connect(t, path).Monitor(t.Context(), &MonitorRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zosnet.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", info.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Errorf("a second daemon: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as kill -9 leaves it
	_ = first.Close()
	second, err := Listen(path)
	if err != nil {
		t.Fatalf("after a killed daemon: %v", err)
	}
	_ = second.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a stopped daemon left its socket: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in its place: %v", err)
	}
}
