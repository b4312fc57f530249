package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

const (
	// renewEvery is how often it is looked whether the certificate is to be renewed:
	// it is from half of its life on.
	renewEvery = time.Hour
	// renewPatience bounds one attempt at one member.
	renewPatience = 30 * time.Second
)

// identity is what a node proves itself by, and whom it believes. It does not
// change: a renewed certificate, or a newer revocation list, makes another one.
type identity struct {
	key   *trust.NodeKey
	pem   []byte
	tls   tls.Certificate
	roots *trust.Roots
	*trust.Identity
}

// readIdentity takes what is in the node's files for its identity from now on.
func (p *Plane) readIdentity(node string) (*identity, error) {
	p.credentials.Lock()
	defer p.credentials.Unlock()
	return p.readIdentityLocked(node)
}

func (p *Plane) readIdentityLocked(node string) (*identity, error) {
	id := &identity{}
	var err error
	if id.key, id.pem, err = p.home.Node(); err != nil {
		return nil, err
	}
	if id.roots, err = p.home.Roots(); err != nil {
		return nil, err
	}
	if id.Identity, err = id.roots.Identity(node, id.pem); err != nil {
		return nil, err
	}
	if id.tls, err = id.key.TLS(id.pem); err != nil {
		return nil, err
	}
	p.own.Store(id)
	return id, nil
}

// registryTLS is how the node speaks to members: by the certificate that it has
// then, with nodes that are members by one which is good then.
func (p *Plane) registryTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: p.own.Load().roots.Pool(), ServerName: trust.MemberHostname,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &p.own.Load().tls, nil },
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := p.own.Load().roots.IdentityOf(s.PeerCertificates[0], time.Now())
			return err
		},
	}
}

// learnTrust takes what the registry has of the CA for this node: a newer list of
// what was revoked, and a newer certificate, which says whether it is a member.
func (p *Plane) learnTrust(ctx context.Context, client *gridstore.Client) error {
	id := p.own.Load()
	if err := p.keepRevocations(client.Roots()); err != nil {
		return err
	}
	if self := client.Snapshot().Nodes[id.Node]; self != nil && self.Identity != nil && self.Identity.Expires.After(id.Expires) {
		if err := p.takeCertificate(ctx, client, id); err != nil {
			return err
		}
	}
	next, err := p.readIdentity(id.Node)
	if err == nil && next.Member != id.Member {
		wake(p.place)
	}
	return err
}

// takeCertificate keeps the newest of this node's certificates in the registry.
func (p *Plane) takeCertificate(ctx context.Context, client *gridstore.Client, id *identity) error {
	text, err := client.Certificate(ctx, id.Node)
	if err != nil {
		return err
	}
	newest, err := trust.Newest(text)
	if err != nil {
		return err
	}
	next, err := id.roots.Identity(id.Node, newest)
	switch {
	case err != nil:
		return err
	case !next.Expires.After(id.Expires):
		return nil // the registry shows an older one
	case next.Address != id.Address || next.ControlKey != id.ControlKey:
		return fmt.Errorf("the certificate of this node in the grid's registry is for control address %v, key %v: %w", next.Address, next.ControlKey, trust.ErrMalformed)
	}
	if _, err := p.keepCertificate(newest); err != nil {
		return err
	}
	p.log.Info("this node has another certificate", "member", next.Member, "expires", next.Expires)
	return nil
}

// keepCertificate keeps a certificate of this node and uses it from now on, unless a
// newer one is in use: one that a member answered is seen in the registry in the same
// moment.
func (p *Plane) keepCertificate(certificate []byte) (*identity, error) {
	p.credentials.Lock()
	defer p.credentials.Unlock()
	id := p.own.Load()
	next, err := id.roots.Identity(id.Node, certificate)
	if err != nil || next.Expires.Before(id.Expires) {
		return id, err
	}
	if err := p.home.SetCertificate(certificate); err != nil {
		return nil, err
	}
	return p.readIdentityLocked(id.Node)
}

// renewCertificate renews the node's certificate whenever that is due, until ctx
// ends. What uses it takes the new one at its next connection.
func (p *Plane) renewCertificate(ctx context.Context) {
	for {
		if id := p.own.Load(); id.RenewalDue(time.Now()) {
			if err := p.renew(ctx, id); err != nil && ctx.Err() == nil {
				p.log.Error("this node's certificate is not renewed; it is tried again", "expires", id.Expires, "again", renewEvery, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(renewEvery):
		}
	}
}

// renew asks the members for a new certificate and uses it.
func (p *Plane) renew(ctx context.Context, id *identity) error {
	certificate, err := p.askRenewal(ctx, id)
	if err != nil {
		return err
	}
	next, err := p.keepCertificate(certificate)
	if err == nil {
		p.log.Info("this node's certificate was renewed", "expires", next.Expires)
	}
	return err
}

// askRenewal asks the members for a new certificate, one after the other: who has the
// CA's key answers.
func (p *Plane) askRenewal(ctx context.Context, id *identity) ([]byte, error) {
	var failed []error
	candidate := grid.Candidate{Node: id.Node, Key: id.key, ControlKey: id.ControlKey}
	for _, m := range p.State().Members {
		asking, cancel := context.WithTimeout(ctx, renewPatience)
		certificate, err := grid.Renew(asking, netip.AddrPortFrom(m.Address, grid.ServicePort), id.roots, id.tls, candidate, time.Now())
		cancel()
		if err == nil {
			return certificate, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}
