package gridstore

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// The layout is described in the package's doc comment.
const (
	root         = "/zosnet/v1/"
	nodesRoot    = root + "nodes/"
	networksRoot = root + "networks/"
	claimsRoot   = root + "workloads/"
	spansRoot    = root + "spans/"
	rosterRoot   = root + "roster/"
	membersRoot  = root + "members/"
	issuedRoot   = root + "issued/"
	removedRoot  = root + "removed/"
	revocations  = root + "trust/revocations"
	recoveryAt   = root + "trust/recovery"
)

// Kind is what a key is of.
type Kind string

// The kinds of keys. Those of a node carry the name that stands in the key.
const (
	KindRecord       Kind = "record"
	KindCertificate  Kind = "certificate"
	KindLive         Kind = "live"
	KindPart         Kind = "networks"
	KindAttachment   Kind = "attachments"
	KindBinding      Kind = "bindings"
	KindRegistration Kind = "prefixes"
	KindDelegation   Kind = "delegations"
	KindRequest      Kind = "requests"
	KindToken        Kind = "tokens"
	KindDocument     Kind = "document"
	KindRevision     Kind = "revisions"
	KindClaim        Kind = "claim"
	KindSpan         Kind = "span"
	KindRoster       Kind = "roster"
	KindMember       Kind = "member"
	KindIssued       Kind = "issued"
	KindRemoved      Kind = "removed"
	KindRevocations  Kind = "revocations"
	KindRecovery     Kind = "recovery"
)

// Key is a key of the grid's registry in its parts; which of them it has depends
// on its kind.
type Key struct {
	Kind     Kind
	Node     string
	Network  string
	Workload string
	Address  netip.Addr
	Prefix   netip.Prefix
	Token    string
	Revision uint64
}

// String gives the key as it is in etcd.
func (k Key) String() string {
	switch k.Kind {
	case KindDocument:
		return networksRoot + k.Network
	case KindRevision:
		return revisionsOf(k.Network) + strconv.FormatUint(k.Revision, 10)
	case KindClaim:
		return claimsRoot + k.Network + "/" + k.Workload
	case KindSpan:
		return spansOf(k.Node) + k.Network
	case KindRoster:
		return rosterRoot + k.Node
	case KindMember:
		return membersRoot + k.Node
	case KindIssued:
		return issuedRoot + k.Node
	case KindRemoved:
		return removedRoot + k.Node
	case KindRevocations:
		return revocations
	case KindRecovery:
		return recoveryAt
	}
	base := nodeRoot(k.Node) + string(k.Kind)
	switch k.Kind {
	case KindPart:
		return base + "/" + k.Network
	case KindAttachment:
		return base + "/" + k.Network + "/" + k.Workload
	case KindBinding:
		return base + "/" + k.Network + "/" + k.Workload + "/" + k.Address.String()
	case KindRegistration, KindDelegation:
		return base + "/" + k.Prefix.String()
	case KindRequest:
		return base + "/blocks"
	case KindToken:
		return base + "/" + k.Token
	}
	return base
}

// path is the key below the root: what a signature covers.
func (k Key) path() string { return strings.TrimPrefix(k.String(), root) }

// signedAs gives what a node signs such a key's value as; empty: it is not signed.
func (k Key) signedAs() trust.Kind {
	switch k.Kind {
	case KindRecord:
		return trust.KindRecord
	case KindPart:
		return trust.KindNetwork
	case KindAttachment:
		return trust.KindAttachment
	case KindBinding:
		return trust.KindBinding
	case KindRegistration:
		return "prefix"
	case KindDelegation:
		return "delegation"
	case KindRequest:
		return "request"
	}
	return ""
}

func nodeRoot(node string) string { return nodesRoot + node + "/" }
func spansOf(node string) string  { return spansRoot + node + "/" }

// below gives the keys of one kind that a node has in a network, or has at all.
func below(node string, kind Kind, network string) string {
	under := nodeRoot(node) + string(kind) + "/"
	if network != "" {
		under += network + "/"
	}
	return under
}

// ParseKey reads a key. What names a node, network or workload must be a name, and
// an address or prefix must be written in its one canonical way.
func ParseKey(text string) (Key, error) {
	k, err := parseKey(text)
	if err == nil && k.String() != text {
		err = fmt.Errorf("its canonical form is %s", k)
	}
	if err != nil {
		return Key{}, fmt.Errorf("registry key %s: %w", text, err)
	}
	return k, nil
}

func parseKey(text string) (Key, error) {
	parts := strings.Split(strings.TrimPrefix(text, root), "/")
	if !strings.HasPrefix(text, root) || len(parts) < 2 {
		return Key{}, errUnknownKey
	}
	switch {
	case parts[0] == "nodes" && len(parts) > 2:
		return parseNodeKey(parts[1], Kind(parts[2]), parts[3:])
	case parts[0] == "networks" && len(parts) == 2:
		return named(Key{Kind: KindDocument, Network: parts[1]})
	case parts[0] == "networks" && len(parts) == 4 && parts[2] == string(KindRevision):
		n, err := strconv.ParseUint(parts[3], 10, 64)
		if err != nil {
			return Key{}, err
		}
		return named(Key{Kind: KindRevision, Network: parts[1], Revision: n})
	case parts[0] == "workloads" && len(parts) == 3:
		return named(Key{Kind: KindClaim, Network: parts[1], Workload: parts[2]})
	case parts[0] == "spans" && len(parts) == 3:
		return named(Key{Kind: KindSpan, Node: parts[1], Network: parts[2]})
	case parts[0] == "roster" && len(parts) == 2:
		return named(Key{Kind: KindRoster, Node: parts[1]})
	case parts[0] == "members" && len(parts) == 2:
		return named(Key{Kind: KindMember, Node: parts[1]})
	case parts[0] == "issued" && len(parts) == 2:
		return named(Key{Kind: KindIssued, Node: parts[1]})
	case parts[0] == "removed" && len(parts) == 2:
		return named(Key{Kind: KindRemoved, Node: parts[1]})
	case text == revocations:
		return Key{Kind: KindRevocations}, nil
	case text == recoveryAt:
		return Key{Kind: KindRecovery}, nil
	}
	return Key{}, errUnknownKey
}

func parseNodeKey(node string, kind Kind, rest []string) (k Key, err error) {
	k = Key{Kind: kind, Node: node}
	switch {
	case len(rest) == 0 && (kind == KindRecord || kind == KindCertificate || kind == KindLive):
	case len(rest) == 1 && kind == KindPart:
		k.Network = rest[0]
	case len(rest) == 1 && kind == KindRequest && rest[0] == "blocks":
	case len(rest) == 1 && kind == KindToken && rest[0] != "":
		k.Token = rest[0]
	case len(rest) == 2 && kind == KindAttachment:
		k.Network, k.Workload = rest[0], rest[1]
	case len(rest) == 3 && kind == KindBinding:
		k.Network, k.Workload = rest[0], rest[1]
		if k.Address, err = netip.ParseAddr(rest[2]); err != nil {
			return k, err
		}
		if k.Address.Zone() != "" {
			return k, errors.New("its address has a zone")
		}
	case len(rest) == 2 && (kind == KindRegistration || kind == KindDelegation): // a prefix has a slash of its own
		if k.Prefix, err = netip.ParsePrefix(rest[0] + "/" + rest[1]); err != nil {
			return k, err
		}
	default:
		return k, errUnknownKey
	}
	return named(k)
}

var errUnknownKey = errors.New("unknown; a newer zosnet may know it")

func named(k Key) (Key, error) {
	for what, s := range map[string]string{"node": k.Node, "network": k.Network, "workload": k.Workload} {
		if s != "" || wants(k.Kind, what) {
			if err := checkName(what, s); err != nil {
				return k, err
			}
		}
	}
	return k, nil
}

// wants tells whether keys of a kind name a node, network or workload.
func wants(kind Kind, what string) bool {
	switch what {
	case "node":
		return kind != KindDocument && kind != KindRevision && kind != KindClaim && kind != KindRevocations && kind != KindRecovery
	case "network":
		return kind == KindPart || kind == KindAttachment || kind == KindBinding || kind == KindDocument || kind == KindRevision || kind == KindClaim || kind == KindSpan
	}
	return kind == KindAttachment || kind == KindBinding || kind == KindClaim
}

func checkName(kind, s string) error {
	if !spec.ValidName(s) {
		return fmt.Errorf("%s name %q: want a letter a-z, then at most 30 of a-z, 0-9 and -", kind, s)
	}
	return nil
}

// CheckNode says whether a node can be called that in a grid. etcd calls its own
// administrator root: a node of that name would be it.
func CheckNode(node string) error {
	if node == rootUser {
		return fmt.Errorf("node name %q: that is what the registry calls its administrator; choose another", node)
	}
	return checkName("node", node)
}
