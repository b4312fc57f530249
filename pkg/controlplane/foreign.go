package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// foreign says whether somebody else runs the registry of the grid that this node is
// to be in.
func foreign(node *spec.Node) bool { return len(node.Registry.Endpoints) > 0 }

func errOtherRegistry(foreign bool) error {
	if foreign {
		return errors.New("somebody else runs this grid's registry, and node.yaml does not say where: name it under registry, and restart the daemon")
	}
	return errors.New("node.yaml names a registry that somebody else runs, and this grid's is kept by its members: take registry out, and restart the daemon")
}

// foreignTLS is how the node speaks to an etcd that somebody else runs. The node's
// certificate is read again at each connection, so that it can be renewed.
func foreignTLS(r spec.Registry, node string) (*tls.Config, error) {
	text, err := os.ReadFile(r.CA)
	if err != nil {
		return nil, fmt.Errorf("registry.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("registry.ca: %s has no certificate in PEM", r.CA)
	}
	if _, err := foreignCertificate(r, node); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return foreignCertificate(r, node) },
	}, nil
}

// foreignCertificate reads the node's certificate for that etcd. Its CN is the user
// that the node is there.
func foreignCertificate(r spec.Registry, node string) (*tls.Certificate, error) {
	text, err := os.ReadFile(r.Cert)
	if err != nil {
		return nil, fmt.Errorf("registry.certificate: %w", err)
	}
	key, err := trust.ReadPrivate(r.Key)
	if err != nil {
		return nil, fmt.Errorf("registry.key: %w", err)
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		return nil, fmt.Errorf("registry.certificate %s and registry.key %s are no pair: %w", r.Cert, r.Key, err)
	}
	if name := pair.Leaf.Subject.CommonName; name != node {
		return nil, fmt.Errorf("registry.certificate: %s is for %q, and its CN must be this node's name, %q", r.Cert, name, node)
	}
	return &pair, nil
}
