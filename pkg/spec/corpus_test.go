package spec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/zosnet/zosnet/pkg/spec"
)

var update = flag.Bool("update", false, "write the .want files from what the decoder says")

// kind is one of the two documents with its decoder and its schema.
type kind struct {
	name   string
	decode func(file string, data []byte) error
	schema *jsonschema.Schema
}

func kinds(t testing.TB) []kind {
	return []kind{
		{"node", func(file string, data []byte) error {
			_, err := spec.DecodeNode(file, data)
			return err
		}, compile(t, spec.NodeSchema())},
		{"network", func(file string, data []byte) error {
			_, _, err := spec.DecodeNetwork(file, data)
			return err
		}, compile(t, spec.NetworkSchema())},
	}
}

func compile(t testing.TB, schema []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// schemaVerdict gives what the schema says about a YAML text, the way an
// editor that knows the schema would.
func schemaVerdict(schema *jsonschema.Schema, text []byte) error {
	var doc any
	if err := yaml.Load(text, &doc); err != nil {
		return err
	}
	asJSON, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// The corpus has four folders for each kind of document:
//
//	good          decoder and schema accept
//	bad           decoder and schema refuse
//	bad-semantic  the decoder refuses and the schema accepts, since a schema
//	              cannot say it: references, order, overlap, arithmetic
//	bad-yaml      the decoder refuses; what is wrong is gone once the YAML is
//	              read (anchors, key twice) or it cannot be read at all, so a
//	              schema has no say
//
// Beside each bad document stands the text of its errors, FILE.want.
func TestCorpus(t *testing.T) {
	const accepts, refuses, noSay = 1, 2, 3
	folders := []struct {
		name            string
		decoder, schema int
		atLeast         int
	}{
		{"good", accepts, accepts, 25},
		{"bad", refuses, refuses, 40},
		{"bad-semantic", refuses, accepts, 15},
		{"bad-yaml", refuses, noSay, 20},
	}
	for _, k := range kinds(t) {
		for _, folder := range folders {
			files, err := filepath.Glob(filepath.Join("testdata", k.name, folder.name, "*.yaml"))
			if err != nil || len(files) < folder.atLeast {
				t.Fatalf("%s/%s has %d documents, want at least %d (%v)", k.name, folder.name, len(files), folder.atLeast, err)
			}
			for _, file := range files {
				t.Run(strings.Join([]string{k.name, folder.name, filepath.Base(file)}, "/"), func(t *testing.T) {
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					decoded := k.decode(filepath.Base(file), text)
					if got := decoded == nil; got != (folder.decoder == accepts) {
						t.Errorf("decoder: %v", decoded)
					}
					if folder.schema != noSay {
						verdict := schemaVerdict(k.schema, text)
						if got := verdict == nil; got != (folder.schema == accepts) {
							t.Errorf("schema: %v", verdict)
						}
					}
					if decoded != nil {
						checkErrors(t, decoded)
						golden(t, strings.TrimSuffix(file, ".yaml")+".want", decoded.Error()+"\n")
					}
				})
			}
		}
	}
}

// checkErrors holds every problem to what an author needs.
func checkErrors(t *testing.T, err error) {
	t.Helper()
	var list spec.Errors
	if !errors.As(err, &list) {
		t.Fatalf("error is a %T, want spec.Errors", err)
	}
	last := spec.Pos{}
	for _, p := range list {
		if p.Found == "" || p.Pos.Line < 1 || p.Pos.Column < 1 || p.Pos.File == "" {
			t.Errorf("incomplete problem: %+v", p)
		}
		if p.Pos.Line < last.Line || p.Pos.Line == last.Line && p.Pos.Column < last.Column {
			t.Errorf("%v stands after %v", p, last)
		}
		last = p.Pos
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with go test -run TestCorpus -update, and read it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("errors differ from %s (-want +got):\n%s", file, diff)
	}
}
