package spec_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

func addCorpus(f *testing.F, kind string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", kind, "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}

// Whatever the text is, it is refused with errors that have a place, or it is
// valid: then the schema accepts it too.
func FuzzDecodeNode(f *testing.F) {
	addCorpus(f, "node")
	schema := compile(f, spec.NodeSchema())
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := spec.DecodeNode("node.yaml", text)
		if err != nil {
			checkErrors(t, err)
			return
		}
		if err := schemaVerdict(schema, text); err != nil {
			t.Errorf("the decoder accepts %q, the schema does not: %v", text, err)
		}
		if !spec.ValidName(n.Name) || n.StateDir == "" || n.RunDir == "" || n.BPFFS == "" || n.Underlay == "" {
			t.Errorf("incomplete: %+v", n)
		}
		for i, prefix := range n.Prefixes {
			for _, other := range n.Prefixes[:i] {
				if prefix.Overlaps(other) {
					t.Errorf("%v overlaps %v", prefix, other)
				}
			}
		}
		_ = n.NotYet()
	})
}

func FuzzDecodeNetwork(f *testing.F) {
	addCorpus(f, "network")
	schema := compile(f, spec.NetworkSchema())
	f.Fuzz(func(t *testing.T, text []byte) {
		n, _, err := spec.DecodeNetwork("acme.yaml", text)
		if err != nil {
			checkErrors(t, err)
			return
		}
		if err := schemaVerdict(schema, text); err != nil {
			t.Errorf("the decoder accepts %q, the schema does not: %v", text, err)
		}
		if !spec.ValidName(n.Name) || len(n.Nodes) == 0 {
			t.Errorf("incomplete: %+v", n)
		}
		n.Warnings("n1")
		_ = n.NotYet()
		again := rulesAgain(t, n)
		if diff := cmp.Diff(n.Rules, again, values); diff != "" {
			t.Errorf("rules differ when read from their own text:\n%s", diff)
		}
	})
}

// rulesAgain decodes the rules of a network from what String gives for them.
func rulesAgain(t *testing.T, n *spec.Network) []spec.Rule {
	t.Helper()
	text := "network: " + quoted(n.Name) + "\nnodes: [n1]\n"
	if len(n.Services) > 0 {
		text += "services:\n"
		for _, s := range n.Services {
			text += "  " + quoted(s.Name) + ":\n"
		}
	}
	if len(n.Access) > 0 {
		text += "access:\n"
		for _, a := range n.Access {
			text += "  " + quoted(a.Name) + ": {publicKey: " + quoted(a.PublicKey) + "}\n"
		}
	}
	if len(n.Rules) > 0 {
		text += "rules:\n"
		for _, r := range n.Rules {
			text += "  - " + r.String() + "\n"
		}
	}
	again, _, err := spec.DecodeNetwork("again.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return again.Rules
}

func quoted(s string) string { return `"` + s + `"` }
