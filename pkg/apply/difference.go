package apply

import "strings"

// difference is one property of an object that is not what the plan says.
type difference struct{ property, have, want string }

func (d difference) String() string {
	if d.have == "" {
		return d.property + " " + d.want
	}
	if d.want == "" {
		return d.property + " not " + d.have
	}
	return d.property + " " + d.have + " → " + d.want
}

// describe gives differences on one line.
func describe(differences []difference) string {
	texts := make([]string, len(differences))
	for i, d := range differences {
		texts[i] = d.String()
	}
	return strings.Join(texts, ", ")
}
