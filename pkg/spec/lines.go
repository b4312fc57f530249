package spec

import (
	"slices"
	"strings"
)

// textLines is a text by its lines, each with its end; changed by numbers from 1.
type textLines []string

func lines(text []byte) textLines { return slices.Collect(strings.Lines(string(text))) }

func indent(columns int) string { return strings.Repeat(" ", columns) }

// end adds lines at the end.
func (t *textLines) end(more ...string) {
	if n := len(*t); n > 0 && !strings.HasSuffix((*t)[n-1], "\n") {
		(*t)[n-1] += "\n"
	}
	for _, line := range more {
		*t = append(*t, line+"\n")
	}
}

// after adds a line behind another.
func (t *textLines) after(line int, text string) {
	if !strings.HasSuffix((*t)[line-1], "\n") {
		(*t)[line-1] += "\n"
	}
	*t = slices.Insert(*t, line, text+"\n")
}

// drop takes lines out, and leaves them empty so that the others keep their numbers.
func (t *textLines) drop(first, last int) {
	for i := first; i <= last; i++ {
		(*t)[i-1] = ""
	}
}

// insert puts a text behind the brace in a place.
func (t *textLines) insert(line, column int, text string) {
	runes := []rune((*t)[line-1])
	(*t)[line-1] = string(runes[:column]) + text + string(runes[column:])
}

// cut takes the entry that begins in a place out of the braces that it stands in.
func (t *textLines) cut(line, column int) {
	before := strings.Join((*t)[:line-1], "") + string([]rune((*t)[line-1])[:column-1])
	text := strings.Join(*t, "")
	end := entryEnd(text, len(before))
	if end < len(text) && text[end] == ',' {
		rest := strings.TrimLeft(text[end+1:], " ")
		*t = textLines{before + rest}
		return
	}
	before = strings.TrimSuffix(strings.TrimRight(before, " \t\r\n"), ",")
	*t = textLines{before + text[end:]}
}

// entryEnd gives where an entry of a flow mapping ends: at a comma or at the brace
// that closes the mapping.
func entryEnd(text string, at int) int {
	depth, quote := 0, byte(0)
	for ; at < len(text); at++ {
		c := text[at]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}'):
			return at
		case c == '}' || c == ']':
			depth--
		}
	}
	return at
}
