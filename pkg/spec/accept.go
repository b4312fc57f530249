package spec

import (
	"encoding/base64"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// OwnerPrefix begins an owner's public key, so that nobody takes a WireGuard key
// for one: both are 32 bytes in base64.
const OwnerPrefix = "ed25519:"

const (
	expectAccept = "any, or a list of owners' public keys"
	expectOwner  = "an owner's public key: ed25519: and 32 bytes in base64, as zosnet key show prints it"
)

// decodeAccept decodes whose networks the node carries. An empty list is refused:
// it could be taken for nobody's and for anybody's.
func (n *Node) decodeAccept(v value) {
	switch {
	case v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!str":
		if v.node.Value != "any" {
			v.wrong(fmt.Sprintf("text of %d bytes", len(v.node.Value)), expectAccept)
		}
	case v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0:
		v.wrong("an empty list", expectAccept)
	default:
		n.Accept = v.distinct(expectAccept, value.owner)
	}
}

// owner decodes an owner's public key. What is no key is not repeated in the
// error: it could be a secret that was pasted into the wrong place.
func (v value) owner() (string, bool) {
	text, ok := v.text(expectOwner)
	if !ok {
		return "", false
	}
	encoded, ok := strings.CutPrefix(text, OwnerPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(encoded) != 44 || len(key) != 32 || [32]byte(key) == [32]byte{} {
		v.wrong(fmt.Sprintf("text of %d bytes that is no owner's key", len(text)), expectOwner)
		return "", false
	}
	return text, true
}
