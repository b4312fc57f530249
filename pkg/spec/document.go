package spec

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Limits that keep a hostile document from costing more than it is worth.
const (
	MaxDocument = 1 << 20 // bytes of one document; etcd takes 1.5 MiB in a request
	MaxProblems = 1000    // problems that one Errors lists; the rest are counted
	maxDepth    = 16      // nesting of YAML; the documents need seven levels
)

// document is one file while it is decoded: it gathers the problems
// and the places.
type document struct {
	file     string
	where    Where // of the top-level keys, and of what else a decoder adds
	problems Errors
	unlisted int
}

func (d *document) add(p Problem) {
	if len(d.problems) >= MaxProblems {
		d.unlisted++
		return
	}
	d.problems = append(d.problems, p)
}

// err gives every problem found so far, or nil.
func (d *document) err() error {
	if d.unlisted > 0 {
		d.problems = append(d.problems, Problem{Found: fmt.Sprintf("%d more problems are not listed", d.unlisted)})
		d.unlisted = 0
	}
	return d.problems.asError()
}

func (d *document) pos(n *yaml.Node) Pos {
	return Pos{File: d.file, Line: n.Line, Column: n.Column}
}

// root parses the text and gives the top of its one YAML document. It gives
// false, and has added the reason, where the text is not plain YAML.
func (d *document) root(data []byte) (value, bool) {
	if len(data) > MaxDocument {
		d.add(Problem{Pos: Pos{d.file, 1, 1}, Found: fmt.Sprintf("a document of %d bytes", len(data)),
			Expected: fmt.Sprintf("at most %d", MaxDocument)})
		return value{}, false
	}
	if !d.readable(data) {
		return value{}, false
	}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		d.add(d.syntax(err))
		return value{}, false
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 {
		d.add(Problem{Pos: Pos{d.file, 1, 1}, Found: "an empty document", Expected: "a mapping"})
		return value{}, false
	}
	if len(docs) > 1 {
		d.add(Problem{Pos: d.pos(&docs[1]), Found: "a second YAML document", Expected: "one document in a file"})
		return value{}, false
	}
	top := docs[0].Content[0]
	d.plain(top, 1)
	return value{d: d, node: top}, len(d.problems) == 0
}

// readable says whether the text is UTF-8 without control characters. The YAML
// reader refuses the same, but cannot say where.
func (d *document) readable(data []byte) bool {
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		found := ""
		switch {
		case r == utf8.RuneError && size == 1:
			found = fmt.Sprintf("the byte 0x%02x", data[i])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			found = fmt.Sprintf("the control character %U", r)
		}
		if found != "" {
			d.add(Problem{Pos: Pos{d.file, line, column}, Found: found,
				Expected: "UTF-8 text; the file may be half-written or not a document at all"})
			return false
		}
		i, column = i+size, column+1
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return true
}

// syntax turns the YAML library's error into a problem with its place.
func (d *document) syntax(err error) Problem {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return Problem{Pos: Pos{d.file, 1, 1}, Found: "not readable as YAML: " + err.Error()}
	}
	text := load.Message
	if load.ContextMsg != "" {
		text = fmt.Sprintf("%s (%s, from %d:%d)", text, load.ContextMsg, load.ContextMark.Line, load.ContextMark.Column)
	}
	line, column := max(load.Mark.Line, 1), max(load.Mark.Column, 1)
	return Problem{Pos: Pos{d.file, line, column}, Found: "not readable as YAML: " + text}
}

// plain refuses what makes a YAML document mean something else than it shows:
// anchors, aliases, merge keys, tags and deep nesting.
func (d *document) plain(n *yaml.Node, depth int) {
	const writtenOut = "every value written out"
	switch {
	case n.Kind == yaml.AliasNode:
		d.add(Problem{Pos: d.pos(n), Found: "the alias *" + n.Value, Expected: writtenOut})
	case n.Anchor != "":
		d.add(Problem{Pos: d.pos(n), Found: "the anchor &" + n.Anchor, Expected: writtenOut})
	case n.Tag == "!!merge":
		d.add(Problem{Pos: d.pos(n), Found: "a merge key", Expected: writtenOut})
	case n.Style&yaml.TaggedStyle != 0:
		d.add(Problem{Pos: d.pos(n), Found: "the tag " + n.Tag, Expected: "a value without a tag"})
	}
	if depth > maxDepth {
		d.add(Problem{Pos: d.pos(n), Found: "YAML nested deeper than any document needs",
			Expected: fmt.Sprintf("at most %d levels", maxDepth)})
		return
	}
	for _, child := range n.Content {
		d.plain(child, depth+1)
	}
}
