package resolver

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigs(t *testing.T) {
	root := t.TempDir()
	c := configs{dir: filepath.Join(root, "netns"), record: filepath.Join(root, "record")}
	served := func(network, address string, namespaces ...string) Served {
		return Served{Network: network, Address: addr(address), Namespaces: namespaces}
	}
	foreign := c.path("acme.own")
	if err := os.MkdirAll(filepath.Dir(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("nameserver ::1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		wanted []Served
		want   []string // namespaces that have a file
	}{
		{"two networks", []Served{served("acme", "2001:db8::53", "acme.web-1", "acme.db-1", "acme.own"), served("globex", "2001:db8:1::53", "globex.api-1")},
			[]string{"acme.db-1", "acme.own", "acme.web-1", "globex.api-1"}},
		{"a workload less", []Served{served("acme", "2001:db8::53", "acme.web-1", "acme.own"), served("globex", "2001:db8:1::53", "globex.api-1")},
			[]string{"acme.own", "acme.web-1", "globex.api-1"}},
		{"the same", []Served{served("acme", "2001:db8::53", "acme.web-1", "acme.own"), served("globex", "2001:db8:1::53", "globex.api-1")},
			[]string{"acme.own", "acme.web-1", "globex.api-1"}},
		{"another address", []Served{served("acme", "2001:db8:2::53", "acme.web-1")}, []string{"acme.own", "acme.web-1"}},
		{"none", nil, []string{"acme.own"}},
	} {
		if err := c.settle(step.wanted); err != nil {
			t.Fatal(err)
		}
		var have []string
		err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "resolv.conf" {
				have = append(have, filepath.Base(filepath.Dir(path)))
			}
			return err
		})
		if diff := cmp.Diff(step.want, have); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", step.name, err, diff)
		}
		for _, s := range step.wanted {
			for _, name := range s.Namespaces {
				text, err := os.ReadFile(c.path(name))
				if want := string(ResolvConf(s.Network, s.Address)); name != "acme.own" && (err != nil || string(text) != want) {
					t.Errorf("%s: %s says %q, %v; want %q", step.name, name, text, err, want)
				}
			}
		}
	}
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "nameserver ::1\n" {
		t.Errorf("somebody's own file says %q, %v", text, err)
	}
	if recorded, err := c.recorded(); err != nil || !slices.Equal(recorded, nil) {
		t.Errorf("recorded are still %v, %v", recorded, err)
	}
}
