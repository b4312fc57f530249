package spec

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

const (
	expectName = "a name: a letter a-z, then up to 30 of a-z, 0-9 and -, but not inside, outside, any or auto"
	expectLink = "the name of a network interface other than lo: up to 15 printable characters without space, / and :"
	expectHost = "a host name in lower case such as www.acme.test"
	expectPath = "an absolute path without a / at its end, without . and .. in it"
)

// runDir holds sockets, and a unix socket's path is at most 107 bytes long
// (unix(7), sun_path): that leaves room for /metrics.sock.
const maxRunDir = 94

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	linkPattern = regexp.MustCompile(`^[!-.0-9;-~]{1,15}$`)
	hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

	reserved = []string{"inside", "outside", "any", "auto"}
)

// ValidName says whether a node, network, service, workload or access device
// can have this name.
func ValidName(name string) bool {
	return namePattern.MatchString(name) && !slices.Contains(reserved, name)
}

func (v value) name() (string, bool) { return v.matching(expectName, ValidName) }

// distinct decodes a list in which no text stands twice.
func (v value) distinct(expected string, decode func(value) (string, bool)) []string {
	var list []string
	first := map[string]string{}
	for _, item := range v.items(expected) {
		text, ok := decode(item)
		if !ok {
			continue
		}
		if path, twice := first[text]; twice {
			item.bad("each once, but " + path + " is the same")
			continue
		}
		first[text] = item.path
		list = append(list, text)
	}
	return list
}

// link decodes the name of an interface (dev_valid_name in net/core/dev.c of
// Linux says which are possible).
func (v value) link() (string, bool) {
	return v.matching(expectLink, func(s string) bool {
		return linkPattern.MatchString(s) && s != "." && s != ".." && s != "lo"
	})
}

// host decodes a DNS name that can stand in a TLS server name (RFC 6066,
// section 3: no address literal).
func (v value) host() (string, bool) {
	return v.matching(expectHost, func(s string) bool {
		return len(s) <= 253 && hostPattern.MatchString(s)
	})
}

// directory decodes an absolute, clean path.
func (v value) absolute(into *string) {
	clean := func(s string) bool {
		return strings.HasPrefix(s, "/") && s != "/" && path.Clean(s) == s && !strings.ContainsFunc(s, unicode.IsControl)
	}
	if s, ok := v.matching(expectPath, clean); ok {
		*into = s
	}
}
