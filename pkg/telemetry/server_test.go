package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// served is a running server on a socket of its own.
type served struct {
	path string
	stop func() error
}

func serve(t *testing.T, path string) served {
	t.Helper()
	l, err := Listen(path)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, testMetrics(counted).Handler(slog.New(slog.DiscardHandler))) }()
	return served{path, func() error { cancel(); return <-done }}
}

func (s served) do(t *testing.T, method, target string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.path)
		}}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://zosnet"+target, nil)
	must(t, err)
	response, err := client.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}

// TestServe says that the socket answers GET /metrics and nothing else, with mode
// 0660, and is gone afterwards.
func TestServe(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "metrics.sock"))
	for _, row := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/metrics", 200}, {"HEAD", "/metrics", 200},
		{"POST", "/metrics", 405}, {"DELETE", "/metrics", 405},
		{"GET", "/", 404}, {"GET", "/metrics/x", 404}, {"GET", "/debug/pprof/", 404},
	} {
		status, body := s.do(t, row.method, row.target)
		if status != row.want {
			t.Errorf("%s %s gives %d, want %d", row.method, row.target, status, row.want)
		}
		if row.method == "GET" && row.want == 200 && !strings.Contains(body, MetricDropped) {
			t.Errorf("%s %s shows no metrics:\n%s", row.method, row.target, body)
		}
	}
	info, err := os.Stat(s.path)
	must(t, err)
	if info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("the socket has mode %s, want srw-rw----", info.Mode())
	}
	must(t, s.stop())
	if _, err := os.Stat(s.path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestListenAgain says that a dead daemon's socket is replaced and a live one's is
// not.
func TestListenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	must(t, dead.Close())
	live := serve(t, path)
	if l, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("listening where a daemon serves: %v, %v", l, err)
	}
	if status, _ := live.do(t, "GET", "/metrics"); status != 200 {
		t.Errorf("the live one gives %d afterwards", status)
	}
	must(t, live.stop())
}

// TestLongestPath says that the longest runDir that node.yaml may have works: a
// unix socket's path is at most 107 bytes.
func TestLongestPath(t *testing.T) {
	dir := t.TempDir()
	if len(dir) > 90 {
		t.Fatalf("the test's own directory is too long: %s", dir)
	}
	dir = filepath.Join(dir, strings.Repeat("d", 94-len(dir)-1))
	must(t, os.Mkdir(dir, 0o700))
	s := serve(t, filepath.Join(dir, "metrics.sock"))
	if status, _ := s.do(t, "GET", "/metrics"); status != 200 {
		t.Errorf("a scrape gives %d", status)
	}
	must(t, s.stop())
}
