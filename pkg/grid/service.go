package grid

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/netutil"

	"github.com/zosnet/zosnet/pkg/trust"
)

// ServicePort is the invitation service's, on a member's control address.
const ServicePort = 2391

// What bounds strangers: only peers of the control interface reach the service,
// but a guest is not trusted yet.
const (
	maxConnections  = 64
	requestTimeout  = 20 * time.Second
	maxHeader       = 8 << 10
	shutdownTimeout = 5 * time.Second
)

// Service lets nodes in and renews their certificates. It runs at a node that has
// the CA's key.
type Service struct {
	CA      *trust.CA
	Control netip.Prefix
	Store   Store
	Foreign bool // somebody else runs the grid's registry
	// Own gives this node's certificate, one of a member, with its key; Roots whom
	// the grid believes. Both may change while it runs.
	Own   func() tls.Certificate
	Roots func() *trust.Roots
	Now   func() time.Time
	Log   *slog.Logger
}

// Serve answers on a listener of Listen until the context ends, which is no error. The
// listener is closed then.
func (s *Service) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           http.MaxBytesHandler(s.routes(), maxMessage),
		ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: 2 * requestTimeout, IdleTimeout: requestTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("invitation service on %v: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if server.Shutdown(ending) != nil {
		_ = server.Close() // who is still speaking has had its time
	}
	return nil
}

// Listen opens the service's socket on a control address: who comes from now on is
// answered once Serve runs. An address outside the control network is refused: there
// strangers would see it.
func (s *Service) Listen(ctx context.Context, on netip.AddrPort) (net.Listener, error) {
	listener, err := s.listen(ctx, on)
	if err != nil {
		return nil, fmt.Errorf("invitation service on %v: %w", on, err)
	}
	return listener, nil
}

func (s *Service) listen(ctx context.Context, on netip.AddrPort) (net.Listener, error) {
	if err := CheckControlPrefix(s.Control); err != nil {
		return nil, err
	}
	if !s.Control.Contains(on.Addr()) {
		return nil, fmt.Errorf("that is no address of the control network %v", s.Control)
	}
	var config net.ListenConfig
	tcp, err := config.Listen(ctx, "tcp6", on.String())
	if err != nil {
		return nil, err
	}
	return tls.NewListener(netutil.LimitListener(tcp, maxConnections), &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tls(), nil },
	}), nil
}

// tls sends the CAs behind the certificate: who joins knows a fingerprint only.
func (s *Service) tls() *tls.Config {
	own, roots := s.Own(), s.Roots()
	own.Certificate = append([][]byte{own.Certificate[0]}, roots.DER()...)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: roots.Pool(), // who joins has none
		Time: s.Now,
	}
}

func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+joinPath, func(w http.ResponseWriter, r *http.Request) {
		var request joinRequest
		answer(s, w, r, &request, func(ctx context.Context) (*joinAnswer, error) { return s.join(ctx, request) })
	})
	mux.HandleFunc("POST "+renewPath, func(w http.ResponseWriter, r *http.Request) {
		var request renewRequest
		answer(s, w, r, &request, func(ctx context.Context) (*renewAnswer, error) { return s.renew(ctx, r.TLS, request) })
	})
	return mux
}

// answer reads a request, has it handled and writes what came of it.
func answer[A any](s *Service, w http.ResponseWriter, r *http.Request, request any, handle func(context.Context) (*A, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, request)
	}
	if err != nil {
		// What was sent may hold a secret, so nothing of it is logged.
		s.refuse(w, r, trust.ErrMalformed)
		return
	}
	result, err := handle(ctx)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	write(w, http.StatusOK, result)
}

// reasons are how errors leave the service, in the order in which they are looked
// for.
var reasons = []struct {
	err    error
	status int
	reason string
}{
	{trust.ErrToken, http.StatusForbidden, refusedToken},
	{errIdentity, http.StatusForbidden, refusedIdentity},
	{ErrNameTaken, http.StatusConflict, refusedName},
	{ErrKeyTaken, http.StatusConflict, refusedKey},
	{trust.ErrMalformed, http.StatusBadRequest, refusedMalformed},
	{trust.ErrSignature, http.StatusBadRequest, refusedMalformed},
}

func (s *Service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	for _, known := range reasons {
		if errors.Is(err, known.err) {
			s.Log.Warn("invitation service refuses", "from", r.RemoteAddr, "path", r.URL.Path, "reason", known.reason)
			write(w, known.status, refusal{known.reason})
			return
		}
	}
	s.Log.Error("invitation service fails", "from", r.RemoteAddr, "path", r.URL.Path, "error", err)
	write(w, http.StatusServiceUnavailable, refusal{refusedLater})
}

func write(w http.ResponseWriter, status int, message any) {
	text, err := json.Marshal(message)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // who asked may be gone
}
