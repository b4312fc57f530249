// Package docs holds nothing but the tests that keep these pages true: every YAML
// example is decoded, every command is run in a lab, every link leads somewhere.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a page.
type block struct {
	page string
	line int    // of its opening fence, from 1
	kind string // what stands after the fence: yaml, yaml bad, console, machines, text, sh
	text string
}

// pages are the files of this directory and the README.
func pages(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no pages here: %v", err)
	}
	return append(names, filepath.Join("..", "README.md"))
}

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks gives the fenced blocks of a page in order.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	var all []block
	open := false
	for i, line := range strings.Split(read(t, page), "\n") {
		kind, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !open:
			all = append(all, block{page: page, line: i + 1, kind: kind})
			open = true
		case fence:
			open = false
		case open:
			all[len(all)-1].text += line + "\n"
		}
	}
	if open {
		t.Fatalf("%s: the block at line %d is not closed", page, all[len(all)-1].line)
	}
	return all
}

// file gives the name of the file that a block shows: its first line is a comment
// that says so.
func (b block) file() (string, bool) {
	name, _ := b.fileOn()
	return name, name != ""
}

// fileOn gives the machine too, where the comment names one.
func (b block) fileOn() (name, machine string) {
	found := regexp.MustCompile(`^# ([a-z-]+\.yaml)(?: of ([a-z0-9]+))?\n`).FindStringSubmatch(b.text)
	if found == nil {
		return "", ""
	}
	return found[1], found[2]
}

// TestBlockKinds says that a block is of a kind that some test looks at, or is
// text.
func TestBlockKinds(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			switch b.kind {
			case "yaml", "yaml bad", "console", "machines", "inspect", "text", "sh", "c", "":
			default:
				t.Errorf("%s:%d: no test knows blocks of kind %q", page, b.line, b.kind)
			}
		}
	}
}

// TestLinks says that links to files and headings lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]*)(#[^)]*)?\)`)
	for _, page := range pages(t) {
		for i, line := range strings.Split(read(t, page), "\n") {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				target := found[1]
				if strings.Contains(target, "://") {
					continue
				}
				path := page
				if target != "" {
					path = filepath.Join(filepath.Dir(page), target)
				}
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s:%d: the link to %s leads nowhere", page, i+1, target)
					continue
				}
				if found[2] != "" && !anchors(read(t, path))[found[2]] {
					t.Errorf("%s:%d: %s has no heading %s", page, i+1, path, found[2])
				}
			}
		}
	}
}

// anchors gives the anchors of a page's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(title), "")
			all["#"+strings.ReplaceAll(title, " ", "-")] = true
		}
	}
	return all
}
