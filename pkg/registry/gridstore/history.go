package gridstore

import (
	"cmp"
	"context"
	"errors"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// What the registry keeps of a network's past.
const (
	keptRevisions = 10        // before the last one
	keptBytes     = 256 << 10 // of one; a larger one is not kept
)

// revisionsOf are the keys of a network's past documents.
func revisionsOf(network string) string { return networksRoot + network + "/revisions/" }

// keepRevision makes the document that is being replaced a past one, and forgets the
// one that is too old for that. Revisions count up by one, so no more are kept than
// are to be.
func (c *change) keepRevision(was *Document) error {
	if was.Revision == 0 {
		return nil
	}
	if was.Revision > keptRevisions {
		c.delete(Key{Kind: KindRevision, Network: was.Network, Revision: was.Revision - keptRevisions})
	}
	raw, err := encode(was, nil)
	if err != nil || len(raw) > keptBytes {
		return err
	}
	key := Key{Kind: KindRevision, Network: was.Network, Revision: was.Revision}
	c.ops = append(c.ops, clientv3.OpPut(key.String(), string(raw)))
	return nil
}

// Revision is one of a network's documents, the last or a past one.
type Revision struct {
	Document
	Err error // why it is not proven that its owner signed it; nil: it is
}

// History reads a network's documents from the registry, the newest first; none if
// there is no such network. Who signed each is proven, when that was and by which file
// is only said.
func (c *Client) History(ctx context.Context, network string) ([]Revision, error) {
	if err := checkName("network", network); err != nil {
		return nil, err
	}
	r := c.newReading()
	responses, err := r.get(ctx, []string{Key{Kind: KindDocument, Network: network}.String(), revisionsOf(network)})
	if err != nil {
		return nil, err
	}
	var list []Revision
	for _, one := range responses {
		for _, kv := range one.Kvs {
			k, err := ParseKey(string(kv.Key))
			revision := Revision{Document: Document{}, Err: err}
			if err == nil {
				revision.Err = cmp.Or(decode(kv.Value, &revision.Document), checkForm(&revision.Document))
			}
			if _, newer := errors.AsType[*VersionError](revision.Err); newer {
				revision.Document = Document{Document: trust.Document{Revision: k.Revision}}
			}
			if revision.Network = network; k.Kind == KindRevision && revision.Revision != k.Revision {
				continue // it is no revision at all
			}
			if revision.Err == nil {
				revision.Err = revision.Verify()
			}
			list = append(list, revision)
		}
	}
	slices.SortStableFunc(list, func(a, b Revision) int { return cmp.Compare(b.Revision-1, a.Revision-1) }) // a last one that cannot be read has 0
	return list, nil
}
