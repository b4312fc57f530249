package spec

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a document. Where Expected is empty, Found
// is a sentence of its own.
type Problem struct {
	Pos      Pos
	Key      string // path to the value, such as rules[0].allow.to
	Found    string // as text for people: "dbb" with its quotes, 80, a list, nothing
	Expected string
}

// String gives "file:line:column: key: found …, expected …".
func (p Problem) String() string {
	text := p.Found
	if p.Expected != "" {
		text = fmt.Sprintf("found %s, expected %s", p.Found, p.Expected)
	}
	return placed(p.Pos, p.Key, text)
}

// Errors is everything wrong with one document, in the order of its lines.
// DecodeNode, DecodeNetwork and the NotYet methods return it as their error.
type Errors []Problem

// Error gives one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// asError gives nil where there is no problem, so that a nil error is nil.
func (e Errors) asError() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b Problem) int { return a.Pos.compare(b.Pos) })
	return e
}

// Warning is something in a valid document that does not do what its author
// may think.
type Warning struct {
	Pos  Pos
	Key  string
	Text string
}

// String gives "file:line:column: key: text".
func (w Warning) String() string { return placed(w.Pos, w.Key, w.Text) }

// placed puts the place and the key before a text, where they are known.
func placed(pos Pos, key, text string) string {
	if key != "" {
		text = key + ": " + text
	}
	if pos.Line != 0 {
		text = pos.String() + ": " + text
	}
	return text
}

// compare orders the places of one file; the zero Pos comes last.
func (p Pos) compare(q Pos) int {
	switch {
	case p == q:
		return 0
	case p.Line == 0:
		return 1
	case q.Line == 0:
		return -1
	case p.Line != q.Line:
		return p.Line - q.Line
	}
	return p.Column - q.Column
}
