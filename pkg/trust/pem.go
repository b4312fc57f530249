package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The PEM types (RFC 7468).
const (
	pemCertificate = "CERTIFICATE"
	pemRequest     = "CERTIFICATE REQUEST"
	pemRevocations = "X509 CRL"
	pemPrivateKey  = "PRIVATE KEY"
)

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// decodePEM gives the contents of a text that is nothing but 1 to most blocks of
// one type.
func decodePEM(kind string, text []byte, most int) ([][]byte, error) {
	var list [][]byte
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != kind || len(list) == most {
			break
		}
		list, text = append(list, block.Bytes), rest
	}
	if len(text) > 0 || len(list) == 0 {
		return nil, fmt.Errorf("%w: want 1 to %d PEM blocks of type %s and nothing else", ErrMalformed, most, kind)
	}
	return list, nil
}

func parseCertificates(text []byte, most int) ([]*x509.Certificate, error) {
	blocks, err := decodePEM(pemCertificate, text, most)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	for _, der := range blocks {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w certificate: %w", ErrMalformed, err)
		}
		list = append(list, cert)
	}
	return list, nil
}

func parseECDSA(text []byte) (*ecdsa.PrivateKey, error) {
	key, err := parsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	if key, ok := key.(*ecdsa.PrivateKey); ok && key.Curve == elliptic.P256() {
		return key, nil
	}
	return nil, fmt.Errorf("%w private key: want ECDSA P-256", ErrMalformed)
}

// parsePrivateKey decodes PKCS #8 (RFC 5958). What the parser says is left out:
// it may quote what it read.
func parsePrivateKey(text []byte) (any, error) {
	blocks, err := decodePEM(pemPrivateKey, text, 1)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("%w private key: want PKCS #8", ErrMalformed)
	}
	return key, nil
}

func privateKeyPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the private key: %w", err)
	}
	return encodePEM(pemPrivateKey, der), nil
}

// maxPrivateFile bounds what ReadPrivate takes for a key, in bytes.
const maxPrivateFile = 64 << 10

// WritePrivate writes a secret to a new file of mode 0600, and to disk before it
// returns. A file that is there already is an error that wraps fs.ErrExist: a key
// is never overwritten. A file that could not be written whole is taken away.
func WritePrivate(path string, secret []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write a private key: %w", err)
	}
	_, err = f.Write(secret)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write a private key to %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new name in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// ReadPrivate reads a secret. A file that others than its owner can read or write
// is refused: what is in it may be known already.
func ReadPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a private key: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read a private key: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("read a private key: %s is not a file", path)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("read a private key: others can use %s (mode %#o): chmod 600 it, and make a new key if somebody may have read it", path, mode.Perm())
	}
	secret, err := io.ReadAll(io.LimitReader(f, maxPrivateFile))
	if err != nil {
		return nil, fmt.Errorf("read a private key: %w", err)
	}
	return secret, nil
}
