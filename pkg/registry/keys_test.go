package registry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentedKeys holds the table of docs/registry.md, and the package's own list, to
// the keys that there are.
func TestDocumentedKeys(t *testing.T) {
	page, err := os.ReadFile("../../docs/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	comment, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Keys of a node's own registry\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := firstOf(regexp.MustCompile("(?m)^\\| `([a-z]+[^`]*)` \\|"), table)
	if listed := firstOf(regexp.MustCompile(`(?m)^//\t([a-z-]+/\S+)`), string(comment)); !slices.Equal(rows, listed) {
		t.Errorf("the page has %v, the package's comment %v", rows, listed)
	}
	roots := constants(t)
	if len(roots) < 9 {
		t.Fatalf("keys.go has the keys %v", roots)
	}
	for _, key := range roots {
		if !slices.ContainsFunc(rows, func(row string) bool { return strings.HasPrefix(row, key) }) {
			t.Errorf("the page does not have %s", key)
		}
	}
	for _, row := range rows {
		if !slices.ContainsFunc(roots, func(key string) bool { return strings.HasPrefix(row, key) }) {
			t.Errorf("the page has %s, which is no key", row)
		}
	}
}

// firstOf gives what the first group of each match has, sorted.
func firstOf(re *regexp.Regexp, text string) (list []string) {
	for _, match := range re.FindAllStringSubmatch(text, -1) {
		list = append(list, match[1])
	}
	slices.Sort(list)
	return list
}

// constants gives what keys.go puts behind the root.
func constants(t *testing.T) (list []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sum, is := n.(*ast.BinaryExpr)
		if !is {
			return true
		}
		left, named := sum.X.(*ast.Ident)
		right, literal := sum.Y.(*ast.BasicLit)
		if named && literal && left.Name == "root" {
			text, err := strconv.Unquote(right.Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, text)
		}
		return true
	})
	return list
}
