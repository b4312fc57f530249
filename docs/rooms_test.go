package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ignorance is what the source of a room that must not know something is free of.
type ignorance struct {
	imports []string // with all below them; of zosnet's own without the module
	names   []string // as they are written: PACKAGE.NAME
	below   bool     // the packages below the room may know it
}

var (
	documents = ignorance{names: []string{"spec.Network", "spec.DecodeNetwork"}} // node.yaml is none of a network's
	kernel    = ignorance{imports: []string{
		"github.com/vishvananda/netlink", "github.com/cilium/ebpf", "github.com/florianl/go-tc", "github.com/google/nftables",
	}}
	stores = ignorance{imports: []string{"pkg/registry"}}
)

// ignorances gives what the words of the table of rooms mean.
var ignorances = map[string]ignorance{
	"documents":                  documents,
	"networks' documents":        documents,
	"their documents":            documents,
	"networks":                   documents,
	"what a document means":      {imports: []string{"pkg/plan", "pkg/policy", "pkg/apply"}},
	"what a node does with them": {imports: []string{"pkg"}},
	"the registry":               stores,
	"where they are stored":      stores,
	"etcd":                       {imports: []string{"go.etcd.io"}},
	"the plan":                   {imports: []string{"pkg/plan"}},
	"maps":                       {imports: []string{"pkg/maps"}},
	"programs":                   {imports: []string{"pkg/loader"}},
	"the API":                    {imports: []string{"pkg/api"}},
	"the kernel":                 kernel,
	"interfaces":                 {imports: kernel.imports, below: true},
	"a clock":                    {names: []string{"time.Now", "time.Since", "time.Until"}},
	"pure":                       {imports: kernel.imports, names: []string{"time.Now", "time.Since", "time.Until"}},
	"the daemon":                 {imports: []string{"pkg/daemon"}},
}

// TestRoomsKeepApart holds the source to what the table of rooms says that each must not
// know, and everybody to that the daemon knows the rooms and none of them the daemon.
func TestRoomsKeepApart(t *testing.T) {
	for _, row := range rows(t, "architecture.md", "room") {
		room := strings.Trim(row[0], "`")
		if !strings.HasPrefix(room, "pkg/") {
			continue
		}
		words := strings.Split(row[2], ", ")
		if strings.HasSuffix(row[1], "; pure") {
			words = append(words, "pure")
		}
		if room != "pkg/daemon" {
			words = append(words, "the daemon")
		}
		for _, word := range words {
			if word == "" {
				continue
			}
			means, known := ignorances[word]
			if !known {
				t.Errorf("architecture.md: %s must not know %q: say here what that means", room, word)
			}
			for _, found := range means.broken(t, room) {
				t.Errorf("%s must not know %s: %s", room, word, found)
			}
		}
	}
}

// broken says where a room's source has what it must be free of.
func (i ignorance) broken(t *testing.T, room string) (list []string) {
	t.Helper()
	err := filepath.WalkDir("../"+room, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && i.below && path != "../"+room:
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, knows := range append(i.imported(file, room), i.named(file)...) {
			list = append(list, path+" knows "+knows)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (i ignorance) imported(file *ast.File, room string) (list []string) {
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // it was parsed
		path = strings.TrimPrefix(path, "github.com/zosnet/zosnet/")
		for _, not := range i.imports {
			if (path == not || strings.HasPrefix(path, not+"/")) && !strings.HasPrefix(path+"/", room+"/") {
				list = append(list, path)
			}
		}
	}
	return list
}

func (i ignorance) named(file *ast.File) (list []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		selector, is := n.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if of, is := selector.X.(*ast.Ident); is {
			for _, not := range i.names {
				if of.Name+"."+selector.Sel.Name == not {
					list = append(list, not)
				}
			}
		}
		return true
	})
	return list
}
