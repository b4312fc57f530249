package grid

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zosnet/zosnet/pkg/trust"
)

func (h Home) path(file string) string { return filepath.Join(h.dir, file) }

// Files are the paths of PEM files, for etcd, which reads them itself.
type Files struct{ Certificate, Key, CAs, Revocations string }

// Files gives what a member of the registry proves itself by.
func (h Home) Files() Files {
	return Files{h.path(certificateFile), h.path(nodeKeyFile), h.path(casFile), h.path(revocationsFile)}
}

// RegistryDir is where a member keeps its part of the registry.
func (h Home) RegistryDir() string { return h.path("etcd") }

// HasRegistry says whether this node has a part of the registry, which it has once
// it was started as a member.
func (h Home) HasRegistry() bool {
	_, err := os.Stat(filepath.Join(h.RegistryDir(), "member"))
	return err == nil
}

// RemoveRegistry takes this node's part of the registry away, which is of no use
// once it is no member any more.
func (h Home) RemoveRegistry() error {
	if err := os.RemoveAll(h.RegistryDir()); err != nil {
		return fmt.Errorf("remove this node's part of the grid's registry: %w", err)
	}
	return syncDir(h.dir)
}

// CacheFile is where a node keeps what it last knew of the registry.
func (h Home) CacheFile() string { return h.path("cache.db") }

// Node gives the node's key and its certificates, PEM, the newest first.
func (h Home) Node() (*trust.NodeKey, []byte, error) {
	text, err := trust.ReadPrivate(h.path(nodeKeyFile))
	if err != nil {
		return nil, nil, err
	}
	key, err := trust.ParseNodeKey(text)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := os.ReadFile(h.path(certificateFile))
	if err != nil {
		return nil, nil, fmt.Errorf("read the node's certificate: %w", err)
	}
	return key, certificate, nil
}

// Roots gives whom the grid believes, and what its CA revoked as far as this node
// has heard.
func (h Home) Roots() (*trust.Roots, error) {
	text, err := os.ReadFile(h.path(casFile))
	if err != nil {
		return nil, fmt.Errorf("read the grid's CAs: %w", err)
	}
	roots, err := trust.ParseRoots(text)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(h.path(revocationsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return roots, nil // it has heard of none
	}
	if err == nil {
		roots, err = roots.RevokedDER(list)
	}
	if err != nil {
		return nil, fmt.Errorf("read what the grid's CA revoked, %s: %w", h.path(revocationsFile), err)
	}
	return roots, nil
}

// SetRevocations keeps the revocation list that roots know, if it is newer than the
// one that is kept.
func (h Home) SetRevocations(roots *trust.Roots) error {
	kept, err := h.Roots()
	if err != nil {
		return err
	}
	list := roots.RevocationsDER()
	if bytes.Equal(list, kept.RevocationsDER()) {
		return nil
	}
	if _, err := kept.RevokedDER(list); err != nil {
		return err
	}
	return h.replace(revocationsFile, list)
}

// CA gives the grid's CA, at a node that can let others in; elsewhere an error that
// wraps fs.ErrNotExist.
func (h Home) CA() (*trust.CA, error) {
	key, err := trust.ReadPrivate(h.path(caKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("this node has no key of the grid's CA: ask one that has, or bring ca.key and own-ca.pem here and restart the daemon: %w", err)
	}
	if err != nil {
		return nil, err
	}
	certificate, err := os.ReadFile(h.path(ownCAFile))
	if err != nil {
		return nil, fmt.Errorf("read the grid's CA: %w", err)
	}
	ca, err := trust.ParseCA(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", h.path(caKeyFile), h.path(ownCAFile), err)
	}
	roots, err := h.Roots()
	if err != nil {
		return nil, err
	}
	if !roots.Has(ca.Fingerprint()) {
		return nil, fmt.Errorf("%s and %s are of another grid's CA: what they certify nobody here believes; take them away, or bring those of this grid", h.path(caKeyFile), h.path(ownCAFile))
	}
	return ca, nil
}

// SetCertificate keeps a renewed certificate, for the same key, in place of those
// that the node had.
func (h Home) SetCertificate(certificate []byte) error {
	key, _, err := h.Node()
	if err != nil {
		return err
	}
	if _, err := key.TLS(certificate); err != nil {
		return err
	}
	return h.replace(certificateFile, certificate)
}

// settle writes what is still missing in the draft and makes it the home.
func (h Home) settle(public, private map[string][]byte) error {
	for file, text := range private {
		path := filepath.Join(h.draft, file)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a founding that crashed
			return fmt.Errorf("make the grid's directory: %w", err)
		}
		if err := trust.WritePrivate(path, text); err != nil {
			return err
		}
	}
	for file, text := range public {
		if err := writeSynced(filepath.Join(h.draft, file), text); err != nil {
			return fmt.Errorf("make the grid's directory: %w", err)
		}
	}
	if err := os.Rename(h.draft, h.dir); err != nil {
		return fmt.Errorf("make the grid's directory: %w", err)
	}
	return syncDir(filepath.Dir(h.dir))
}

// replace changes a file as a whole: after a crash it is the old one or the new.
func (h Home) replace(file string, text []byte) error {
	temporary := h.path("." + file + ".new")
	if err := writeSynced(temporary, text); err != nil {
		return fmt.Errorf("write %s: %w", h.path(file), err)
	}
	if err := os.Rename(temporary, h.path(file)); err != nil {
		return fmt.Errorf("write %s: %w", h.path(file), err)
	}
	return syncDir(h.dir)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
