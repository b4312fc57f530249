package spec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

const bobKey = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="

const (
	editHead = "# acme's own page\nnetwork: acme\nnodes: [n1, n2]\nservices: {web: {ports: tcp/443}, db: {ports: tcp/1}}\n"
	alice    = `{publicKey: "` + key + `", allow: [web]}`
	bob      = `{publicKey: "` + bobKey + `", allow: [web, db], at: n2}`
)

// What is added stands where its writer would have put it, all else stays to the byte,
// and taking it out again gives the text that was before.
func TestEditAccess(t *testing.T) {
	added := spec.Access{
		Name: "bob", PublicKey: bobKey, At: "n2",
		Allow: []spec.Selector{{Kind: spec.SelectService, Name: "web"}, {Kind: spec.SelectService, Name: "db"}},
	}
	for _, test := range []struct{ name, before, after string }{
		{"no access yet", "rules: [] # none", "rules: [] # none\naccess:\n  bob: " + bob + "\n"},
		{"a list", "access:\n  # people\n  alice: " + alice + " # hers\nrules: []\n", "access:\n  bob: " + bob + "\n  # people\n  alice: " + alice + " # hers\nrules: []\n"},
		{"deeply indented", "access:\n      alice: " + alice + "\n", "access:\n      bob: " + bob + "\n      alice: " + alice + "\n"},
		{"an entry over several lines", "access:\n  alice:\n    publicKey: " + key + "\n    allow:\n      - web\nrules: []\n",
			"access:\n  bob: " + bob + "\n  alice:\n    publicKey: " + key + "\n    allow:\n      - web\nrules: []\n"},
		{"in braces", "access: {alice: " + alice + "} # people\n", "access: {bob: " + bob + ", alice: " + alice + "} # people\n"},
		{"empty braces", "access: {}\n", "access: {bob: " + bob + "}\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := spec.WithAccess("acme.yaml", []byte(editHead+test.before), added)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(editHead+test.after, string(got)); d != "" {
				t.Fatalf("added (-want +got):\n%s", d)
			}
			back, err := spec.WithoutAccess("acme.yaml", got, "bob")
			if err != nil {
				t.Fatal(err)
			}
			n, _ := decodeNetwork(t, string(back))
			if _, there := n.Device("bob"); there || strings.Contains(string(back), bobKey) {
				t.Errorf("bob stayed:\n%s", back)
			}
			if want := editHead + test.before; strings.Contains(test.before, "alice") && string(back) != want {
				t.Errorf("taken out again (-want +got):\n%s", cmp.Diff(want, string(back)))
			}
		})
	}
}

// Whatever form a document has, what is added to it is in it, and gone when it is
// taken out; or the document is said to be changed by hand, and stays.
func TestEditCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/network/good/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d documents: %v", len(files), err)
	}
	edited := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, _, err := spec.DecodeNetwork(file, text)
		if err != nil {
			t.Fatal(err)
		}
		added, err := spec.WithAccess(file, text, spec.Access{Name: "newcomer", PublicKey: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="})
		if err != nil {
			if !strings.Contains(err.Error(), "by hand") {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		edited++
		after, _, err := spec.DecodeNetwork(file, added)
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, added)
		}
		if _, there := after.Device("newcomer"); !there || len(after.Access) != len(before.Access)+1 {
			t.Errorf("%s has not got it:\n%s", file, added)
		}
		removed, err := spec.WithoutAccess(file, added, "newcomer")
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if back, _, err := spec.DecodeNetwork(file, removed); err != nil || len(spec.Differences(before, back)) != 0 {
			t.Errorf("%s: afterwards it says something else: %v\n%s", file, err, removed)
		}
	}
	if edited == 0 {
		t.Error("none could be changed")
	}
}

func TestRemoveAccess(t *testing.T) {
	for _, test := range []struct{ name, before, after string }{
		{"the only one", "access:\n  bob: " + bob + "\nrules: []\n", "rules: []\n"},
		{"the first in braces", "access: {bob: " + bob + ", alice: " + alice + "}\n", "access: {alice: " + alice + "}\n"},
		{"the last in braces", "access: {alice: " + alice + ",\n  bob: " + bob + "\n}\n", "access: {alice: " + alice + "}\n"},
		{"an entry over several lines", "access:\n  bob: {publicKey: \"" + bobKey + "\",\n    allow: [web\n    ]\n  }\n  # next\n  alice: " + alice + "\n",
			"access:\n  # next\n  alice: " + alice + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := spec.WithoutAccess("acme.yaml", []byte(editHead+test.before), "bob")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(editHead+test.after, string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestEditAccessRefused(t *testing.T) {
	add := func(text string, a spec.Access) error {
		_, err := spec.WithAccess("acme.yaml", []byte(text), a)
		return err
	}
	remove := func(text, name string) error {
		_, err := spec.WithoutAccess("acme.yaml", []byte(text), name)
		return err
	}
	listed := editHead + "access:\n  bob: " + bob + "\n"
	for name, test := range map[string]struct {
		err  error
		says string
	}{
		"twice":                    {add(listed, spec.Access{Name: "bob", PublicKey: key}), "already"},
		"another's key":            {add(listed, spec.Access{Name: "eve", PublicKey: bobKey}), "a key of its own"},
		"no key":                   {add(listed, spec.Access{Name: "eve", PublicKey: "x"}), "WireGuard public key"},
		"a service's name":         {add(listed, spec.Access{Name: "web", PublicKey: key}), "a name that no service has"},
		"a name in pieces":         {add(listed, spec.Access{Name: "e: {}\nx", PublicKey: key}), "by hand"},
		"a node of nobody":         {add(listed, spec.Access{Name: "eve", PublicKey: key, At: "n9"}), "where it ends"},
		"the whole in braces":      {add("{network: acme, nodes: [n1]}", spec.Access{Name: "eve", PublicKey: key}), "by hand"},
		"no document":              {add("network: acme\n", spec.Access{Name: "eve", PublicKey: key}), "nodes"},
		"nobody":                   {remove(listed, "eve"), "no access device eve"},
		"somebody that rules name": {remove(listed+"rules: [{allow: {from: bob, to: db}}]\n", "bob"), "rules[0].allow.from"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.says) {
			t.Errorf("%s: %v, want an error with %q", name, test.err, test.says)
		}
	}
}
