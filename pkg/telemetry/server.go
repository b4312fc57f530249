package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	socketMode      = 0o660
	headerTimeout   = 5 * time.Second
	scrapeTimeout   = 30 * time.Second
	shutdownTimeout = time.Second

	// unfinishedSocket is shorter than metrics.sock, since a unix socket's path
	// must not be longer than 107 bytes.
	unfinishedSocket = ".metrics"
)

// Listen makes the unix socket on which metrics are served. One that a dead daemon
// left is replaced; one that is served is an error. Nobody sees the socket with
// another mode than 0660.
func Listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: another process serves it; stop that one or set another runDir", path), conn.Close())
	}
	unfinished := filepath.Join(filepath.Dir(path), unfinishedSocket)
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: remove what an earlier start left: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: unfinished, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it would remove the first name
	if err = os.Chmod(unfinished, socketMode); err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close(), os.Remove(unfinished))
	}
	return &listener{UnixListener: l, path: path}, nil
}

// listener removes its socket when it is closed.
type listener struct {
	*net.UnixListener
	path string
}

func (l *listener) Close() error {
	err := os.Remove(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(l.UnixListener.Close(), err)
}

// Serve answers requests until ctx is done. It closes the listener.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      scrapeTimeout,
		IdleTimeout:       scrapeTimeout,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve metrics: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = server.Close() // a scrape that does not end is cut off
	}
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
