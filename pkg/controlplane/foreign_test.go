package controlplane

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// The files for an etcd that somebody else runs are looked at before it is: what is
// wrong with them is said by their keys in node.yaml.
func TestForeignFiles(t *testing.T) {
	ca := must(trust.NewCA(time.Now()))
	key, other := must(trust.NewNodeKey()), must(trust.NewNodeKey())
	request := must(trust.ParseRequest(must(key.Request("n1", trust.ControlKey{1}))))
	cert := must(ca.Issue(request, netip.MustParseAddr("fd00:1::1"), time.Now()))
	dir := t.TempDir()
	write := func(name string, text []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	right := spec.Registry{
		CA: write("ca.pem", ca.CertificatePEM(), 0o644), Cert: write("n1.pem", cert, 0o644), Key: write("n1.key", must(key.PEM()), 0o600),
	}
	open, foreignKey := write("open.key", must(key.PEM()), 0o644), write("other.key", must(other.PEM()), 0o600)
	for _, test := range []struct {
		name, node string
		change     func(*spec.Registry)
		want       string // in the error; empty: none
	}{
		{"as they should be", "n1", func(*spec.Registry) {}, ""},
		{"for another node", "n2", func(*spec.Registry) {}, `"n1"`},
		{"no CA", "n1", func(r *spec.Registry) { r.CA = filepath.Join(dir, "none") }, "registry.ca"},
		{"a CA that is none", "n1", func(r *spec.Registry) { r.CA = r.Key }, "registry.ca"},
		{"no certificate", "n1", func(r *spec.Registry) { r.Cert = filepath.Join(dir, "none") }, "registry.certificate"},
		{"a key that others can read", "n1", func(r *spec.Registry) { r.Key = open }, "registry.key"},
		{"another's key", "n1", func(r *spec.Registry) { r.Key = foreignKey }, "no pair"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := right
			test.change(&r)
			_, err := foreignTLS(r, test.node)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want one that says %s", err, test.want)
			}
		})
	}
}
