package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// HTTPServer is a web server on a machine.
type HTTPServer struct{ server *http.Server }

// ServeHTTP serves body on every path; Close ends it.
func ServeHTTP(on *lab.Machine, at netip.AddrPort, body string) (*HTTPServer, error) {
	l, err := on.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("serve HTTP at %v on %s: %w", at, on.Name, err)
	}
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}),
	}
	go func() { _ = s.Serve(l) }()
	return &HTTPServer{server: s}, nil
}

// Close ends the server and its connections.
func (s *HTTPServer) Close() { _ = s.server.Close() }

// Get fetches http://to/ from the machine over a connection of its own.
func Get(ctx context.Context, from *lab.Machine, to netip.AddrPort, within time.Duration) (string, Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return from.Dial(ctx, network, address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+"/", nil)
	if err != nil {
		return "", "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		outcome, err := result("GET http://", from, to, err)
		return "", outcome, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		outcome, err := result("GET http://", from, to, err)
		return string(body), outcome, err
	}
	if resp.StatusCode != http.StatusOK {
		return string(body), Answered, fmt.Errorf("GET http://%v from %s: %s", to, from.Name, resp.Status)
	}
	return string(body), Answered, nil
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
