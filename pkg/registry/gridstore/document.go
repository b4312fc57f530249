package gridstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// ConflictError says that a network's document was not stored, since another one
// is there.
type ConflictError struct {
	Network  string
	Revision uint64 // of what is there
	Owner    trust.Owner
	Wanted   uint64 // the revision that was to be stored
	ByOwner  trust.Owner
}

func (e *ConflictError) Error() string {
	if e.Owner != e.ByOwner {
		return fmt.Sprintf("apply network %q: the name belongs to %s (revision %d), and this document is signed by %s; choose another name",
			e.Network, e.Owner, e.Revision, e.ByOwner)
	}
	return fmt.Sprintf("apply network %q as revision %d: revision %d by %s is there already, applied by somebody else meanwhile; look at it and apply again",
		e.Network, e.Wanted, e.Revision, e.Owner)
}

// Document reads a network's document from the registry, nil if there is none. It
// is proven that the owner whom it names signed it. Where this node has believed
// another one, which the registry's cannot follow, that counts.
func (c *Client) Document(ctx context.Context, network string) (*Document, error) {
	if err := checkName("network", network); err != nil {
		return nil, err
	}
	ch := &change{ctx: ctx, client: c, values: map[Key][]byte{}}
	found, err := ch.document(network)
	if failed, ok := errors.AsType[*computeError](err); ok {
		err = failed.err
	}
	return found.document, err
}

// found is what there is of a network's name.
type found struct {
	document *Document // nil: none
	stored   bool      // the registry has it
	free     bool      // whoever comes next may have the name
}

// document reads a network's document from the registry. Every node can write there:
// where this node has believed another one, which the registry's cannot follow, that
// counts, and nothing is kept of the registry's. One that a newer zosnet wrote is left
// alone.
func (c *change) document(network string) (found, error) {
	key := Key{Kind: KindDocument, Network: network}
	raw, err := c.get(key)
	if err != nil {
		return found{}, err
	}
	known, pin := c.client.believed(network)
	if raw == nil {
		return found{document: known, free: known == nil || pin.Released}, nil
	}
	d := &Document{}
	next := pin
	if err = decode(raw, d); err == nil {
		d.Network = network
		next, err = pin.Observe(d.Document, trust.Accept{})
	}
	if newer, is := errors.AsType[*VersionError](err); is {
		return found{}, &computeError{newerDocument(network, newer)}
	}
	switch {
	case err == nil:
		return found{document: d, stored: true, free: next.Released}, checkForm(d)
	case known != nil:
		c.values[key] = nil
		return found{document: known, free: pin.Released}, nil
	}
	return found{}, &computeError{fmt.Errorf("registry key %s: %w; a node that carries the network knows its document: apply it there", key, err)}
}

// newerDocument says that nothing can be done here about a network's document.
func newerDocument(network string, err *VersionError) error {
	return fmt.Errorf("the document of network %q in the grid's registry (%s): %w, or do this at a node that has that one",
		network, Key{Kind: KindDocument, Network: network}, err)
}

// believed gives the document that this node has of a network, nil if it has none, and
// what it has pinned of its name.
func (c *Client) believed(network string) (*Document, trust.Pin) {
	key := Key{Kind: KindDocument, Network: network}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.state.find(key); e != nil {
		return e.value.(*Document), c.state.pins[network]
	}
	return nil, c.state.pins[network]
}

// PutDocument stores the next revision of a network and tells the nodes that it
// names, in one transaction. A released one tells those that it had. The revision
// must be one above what is there, 1 if there is nothing; the same document again
// changes nothing, or puts it back. When another one is there: *ConflictError.
func (c *Client) PutDocument(ctx context.Context, d Document) error {
	if err := d.Verify(); err != nil {
		return err
	}
	d.Nodes = slices.Compact(slices.Sorted(slices.Values(d.Nodes)))
	if len(d.Nodes) > mostNodes {
		return fmt.Errorf("apply network %q: it names %d nodes and may name %d", d.Network, len(d.Nodes), mostNodes)
	}
	for _, node := range d.Nodes {
		if err := CheckNode(node); err != nil {
			return err
		}
	}
	d.Applied = c.now().UTC()
	err := c.change(ctx, fmt.Sprintf("apply network %q", d.Network), func(ch *change) error {
		key, was := Key{Kind: KindDocument, Network: d.Network}, Document{}
		last, err := ch.document(d.Network)
		if err != nil {
			return err
		}
		if last.document != nil {
			was = *last.document
		}
		same := was.Revision == d.Revision && bytes.Equal(was.Signature, d.Signature)
		if same && last.stored {
			return nil
		}
		if !same && (d.Revision != was.Revision+1 || !last.free && was.Owner != d.Owner) {
			return &computeError{&ConflictError{Network: d.Network, Revision: was.Revision, Owner: was.Owner, Wanted: d.Revision, ByOwner: d.Owner}}
		}
		if d.Released {
			d.Nodes = nil
		}
		if !last.stored {
			d.Extra = was.Extra
		}
		if err := ch.replace(key, &d); err != nil {
			return err
		}
		if !same {
			if err := ch.keepRevision(&was); err != nil {
				return err
			}
		}
		return ch.putSpans(d.Network, was.Nodes, d.Nodes)
	})
	if failed, ok := errors.AsType[*computeError](err); ok {
		return failed.err
	}
	return err
}

// putSpans tells nodes that a network names them, and others that it does not any
// more. A node that has been told is not told again: each revision would be an event
// for every node of the network twice.
func (c *change) putSpans(network string, was, now []string) error {
	raw, err := encode(&span{}, nil)
	if err != nil {
		return err
	}
	key := func(node string) string { return Key{Kind: KindSpan, Node: node, Network: network}.String() }
	for _, node := range was {
		if !slices.Contains(now, node) && CheckNode(node) == nil {
			c.ops = append(c.ops, clientv3.OpDelete(key(node)))
		}
	}
	var asked []string
	for _, node := range now {
		if slices.Contains(was, node) {
			asked = append(asked, key(node))
		}
	}
	told, err := c.present(asked)
	if err != nil {
		return err
	}
	for _, node := range now {
		if !told[key(node)] {
			c.ops = append(c.ops, clientv3.OpPut(key(node), string(raw)))
		}
	}
	return nil
}
