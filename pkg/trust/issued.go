package trust

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"
)

// maxIssued bounds the certificates of one node that have not ended.
const maxIssued = 64

// Issued adds a certificate to the list of those that a CA made for a node (PEM
// both, the newest last), and leaves out what has ended: all that must be revoked to
// be rid of the node. What is in the list already is not added again.
func Issued(list, certificate []byte, now time.Time) ([]byte, error) {
	var text []byte
	for _, one := range Certificates(list) {
		cert, err := x509.ParseCertificate(one)
		if err == nil && now.Before(cert.NotAfter) {
			text = append(text, encodePEM(pemCertificate, one)...)
		}
	}
	next, err := Newest(certificate)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(text, next) {
		return text, nil
	}
	if len(Certificates(text)) >= maxIssued {
		return nil, fmt.Errorf("certify a node again: it has %d certificates already, the most that it can have at a time", maxIssued)
	}
	return append(text, next...), nil
}

// Certificates takes a list of certificates (PEM) apart, each as DER; what is no such
// list gives none.
func Certificates(list []byte) (certificates [][]byte) {
	certificates, _ = decodePEM(pemCertificate, list, maxIssued)
	return certificates
}

// Each gives who a node is by each certificate of a list (PEM) that this grid's CA
// made for it.
func (r *Roots) Each(node string, list []byte) (ids []*Identity) {
	for _, der := range Certificates(list) {
		if id, err := r.Identity(node, encodePEM(pemCertificate, der)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
