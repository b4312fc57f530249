package docs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

// TestExamples decodes every YAML example. One that shows a part of a network is
// put into a small one first.
func TestExamples(t *testing.T) {
	count := 0
	for _, page := range pages(t) {
		all := blocks(t, page)
		for i, b := range all {
			var err error
			switch b.kind {
			case "yaml bad":
				err := decode(b)
				if err == nil {
					t.Errorf("%s:%d: this is shown as wrong, but it is right", page, b.line)
				} else if i+1 == len(all) || all[i+1].kind != "text" {
					t.Errorf("%s:%d: the errors are not shown after it", page, b.line)
				} else if d := cmp.Diff(all[i+1].text, err.Error()+"\n"); d != "" {
					t.Errorf("%s:%d: these errors are shown, those come:\n%s", page, all[i+1].line, d)
				}
			case "yaml":
				err = decode(b)
				count++
			}
			if err != nil {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d examples were found", count)
	}
}

func decode(b block) error {
	file, whole := b.file()
	if !whole {
		_, _, err := spec.DecodeNetwork("example", []byte(completed(b.text)))
		return err
	}
	if file == "node.yaml" {
		node, err := spec.DecodeNode(file, []byte(b.text))
		if err != nil {
			return err
		}
		return node.NotYet()
	}
	network, _, err := spec.DecodeNetwork(file, []byte(b.text))
	if err != nil {
		return err
	}
	return network.NotYet()
}

// completed gives a part of a network what it lacks to be a whole one.
func completed(part string) string {
	return "network: acme\nnodes: [n1]\nservices: {web: {ports: [tcp/443]}, db: {ports: [tcp/5432]}}\n" + part
}

// TestReference says that the tables of documents.md name every key that a schema
// has, wherever it stands.
func TestReference(t *testing.T) {
	page := read(t, "documents.md")
	for _, schema := range [][]byte{spec.NodeSchema(), spec.NetworkSchema()} {
		var tree any
		if err := json.Unmarshal(schema, &tree); err != nil {
			t.Fatal(err)
		}
		keys := map[string]bool{}
		collectKeys(tree, keys)
		if len(keys) < 8 {
			t.Fatalf("a schema has only the keys %v", keys)
		}
		for key := range keys {
			if !regexp.MustCompile("(?m)^\\| .*[`.]" + key + "[`.\\[]").MatchString(page) {
				t.Errorf("documents.md has no row for the key %s", key)
			}
		}
	}
}

// collectKeys gathers what a JSON Schema lists under "properties".
func collectKeys(tree any, keys map[string]bool) {
	switch node := tree.(type) {
	case map[string]any:
		if properties, ok := node["properties"].(map[string]any); ok {
			for key := range properties {
				keys[key] = true
			}
		}
		for _, child := range node {
			collectKeys(child, keys)
		}
	case []any:
		for _, child := range node {
			collectKeys(child, keys)
		}
	}
}

// TestLimits holds the numbers of documents.md to the decoder's.
func TestLimits(t *testing.T) {
	page := strings.ReplaceAll(read(t, "documents.md"), "\n", " ")
	want := fmt.Sprintf("%d services, 4,000 rules, access and expose entries together, 20,000 CIDRs, %d MiB of text",
		spec.MaxServices, spec.MaxDocument>>20)
	if spec.MaxRules != 4000 || spec.MaxCIDRs != 20000 || !strings.Contains(page, want) {
		t.Errorf("documents.md says nothing like %q", want)
	}
	for _, path := range []string{spec.DefaultStateDir, spec.DefaultRunDir, spec.DefaultBPFFS} {
		if !strings.Contains(page, "`"+path+"`") {
			t.Errorf("documents.md does not name the default %s", path)
		}
	}
}
