package grid

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// Candidate is a node that wants to get in, with keys that it made itself.
type Candidate struct {
	Node       string
	Key        *trust.NodeKey
	ControlKey trust.ControlKey // public half of its own control interface's key
}

// Membership is what a node has once it is in. All of it was checked, and all but
// the key it belongs to may be known to anybody in the grid.
type Membership struct {
	Certificate []byte // PEM
	Roots       *trust.Roots
	Control     netip.Prefix
	Address     netip.Addr // control address
	Members     []Node
	Foreign     bool // somebody else runs the grid's registry
}

// errRefused is a refusal whose reason this program does not know.
var errRefused = errors.New("refused, for a reason that this program does not know: it may be older than the grid")

// Join asks the node that made the token to be let in. The guest interface
// ([Guests]) must be up. It may be called again with the same candidate when it is
// not known how it ended. Errors wrap trust.ErrToken, ErrNameTaken, ErrKeyTaken,
// trust.ErrUnknownAuthority (the service is not the one of the token) or what
// reaching it met.
func Join(ctx context.Context, token *trust.Token, c Candidate, now time.Time) (*Membership, error) {
	request, err := c.Key.Request(c.Node, c.ControlKey)
	if err != nil {
		return nil, err
	}
	ask := asking{
		service: token.Service,
		roots: func(state tls.ConnectionState) (*trust.Roots, error) {
			return trust.PinnedRoots(state.PeerCertificates, token.CA)
		},
		now: now,
	}
	var got joinAnswer
	err = ask.post(ctx, joinPath, joinRequest{ID: token.ID(), Secret: token.Secret(), Request: string(request)}, &got)
	if err != nil {
		return nil, fmt.Errorf("join as node %s at %v: %w", c.Node, token.Service, err)
	}
	m, err := got.check(token, c, now)
	if err != nil {
		return nil, fmt.Errorf("join as node %s: the answer of %v: %w", c.Node, token.Service, err)
	}
	return m, nil
}

// check believes nothing that does not fit the token and the keys.
func (a joinAnswer) check(token *trust.Token, c Candidate, now time.Time) (*Membership, error) {
	roots, err := trust.ParseRoots([]byte(a.CAs))
	if err != nil {
		return nil, err
	}
	if !roots.Has(token.CA) {
		return nil, trust.ErrUnknownAuthority
	}
	id, err := own(roots, []byte(a.Certificate), c, now)
	if err != nil {
		return nil, err
	}
	if err := CheckControlPrefix(a.Control); err != nil {
		return nil, err
	}
	if !a.Control.Contains(id.Address) || isGuest(id.Address) || !a.Control.Contains(token.Service.Addr()) {
		return nil, fmt.Errorf("%v and %v are not both in the control network %v", id.Address, token.Service.Addr(), a.Control)
	}
	names := map[string]bool{c.Node: true}
	for _, m := range a.Members {
		if !spec.ValidName(m.Name) || names[m.Name] || !a.Control.Contains(m.Address) {
			return nil, fmt.Errorf("member %q, control address %v: %w", m.Name, m.Address, trust.ErrMalformed)
		}
		names[m.Name] = true
	}
	if !slices.ContainsFunc(a.Members, func(m Node) bool { return m.Address == token.Service.Addr() }) {
		return nil, fmt.Errorf("the node that invites is not among the members: %w", trust.ErrMalformed)
	}
	return &Membership{
		Certificate: []byte(a.Certificate), Roots: roots, Control: a.Control, Address: id.Address, Members: a.Members, Foreign: a.Foreign,
	}, nil
}

// own checks that a certificate is one for this node and its keys.
func own(roots *trust.Roots, certificate []byte, c Candidate, now time.Time) (*trust.Identity, error) {
	id, err := roots.Identity(c.Node, certificate)
	if err != nil {
		return nil, err
	}
	if err := id.Valid(now); err != nil {
		return nil, err
	}
	if _, err := c.Key.TLS(certificate); err != nil {
		return nil, err
	}
	if id.ControlKey != c.ControlKey {
		return nil, fmt.Errorf("certified for another control key: %w", trust.ErrMalformed)
	}
	return id, nil
}

// Renew asks a member for a new certificate, with the one that the node has. The
// candidate's keys may be new ones; they count once it has returned.
func Renew(ctx context.Context, service netip.AddrPort, roots *trust.Roots, current tls.Certificate, c Candidate, now time.Time) ([]byte, error) {
	request, err := c.Key.Request(c.Node, c.ControlKey)
	if err != nil {
		return nil, err
	}
	ask := asking{
		service: service, certificate: &current, now: now,
		roots: func(tls.ConnectionState) (*trust.Roots, error) { return roots, nil },
	}
	var got renewAnswer
	if err := ask.post(ctx, renewPath, renewRequest{Request: string(request)}, &got); err != nil {
		return nil, fmt.Errorf("renew the certificate of node %s at %v: %w", c.Node, service, err)
	}
	if _, err := own(roots, []byte(got.Certificate), c, now); err != nil {
		return nil, fmt.Errorf("renew the certificate of node %s: the answer of %v: %w", c.Node, service, err)
	}
	return []byte(got.Certificate), nil
}

// asking is a request to an invitation service.
type asking struct {
	service     netip.AddrPort
	certificate *tls.Certificate // nil: none yet
	roots       func(tls.ConnectionState) (*trust.Roots, error)
	now         time.Time
}

func (a asking) post(ctx context.Context, path string, request, into any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+a.service.String()+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: a.tls(), DisableKeepAlives: true, Proxy: nil}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport, Timeout: 2 * requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it wants to send us elsewhere") },
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return refused(body)
	}
	return json.Unmarshal(body, into)
}

// tls believes a member of the grid at the address that was asked, and nobody else.
func (a asking) tls() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The CA may be known by its fingerprint only, which crypto/tls cannot check:
		// VerifyConnection below does all of it.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			roots, err := a.roots(state)
			if err != nil {
				return err
			}
			id, err := roots.IdentityOf(state.PeerCertificates[0], a.now)
			if err != nil {
				return err
			}
			if !id.Member || id.Address != a.service.Addr() {
				return fmt.Errorf("node %s is no member at %v: %w", id.Node, a.service.Addr(), trust.ErrOtherNode)
			}
			return nil
		},
	}
	if a.certificate != nil {
		config.Certificates = []tls.Certificate{*a.certificate}
	}
	return config
}

// refused gives the error for a refusal.
func refused(body []byte) error {
	var r refusal
	if err := json.Unmarshal(body, &r); err != nil {
		return errRefused
	}
	switch r.Reason {
	case refusedToken:
		return trust.ErrToken
	case refusedName:
		return ErrNameTaken
	case refusedKey:
		return ErrKeyTaken
	case refusedIdentity:
		return errIdentity
	case refusedMalformed:
		return fmt.Errorf("the service takes the request for %w", trust.ErrMalformed)
	case refusedLater:
		return errors.New("the service cannot reach the grid's registry: try again")
	}
	return errRefused
}
