package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// putAtOnce is how many values the member writes in one transaction.
const putAtOnce = 2000

// bulk is values on their way to the registry. The grid as it is at the beginning is
// written by the member itself, as it would be restored: signed by its nodes and its
// owner, since every node proves it all, but without a request for each value.
type bulk struct {
	member *member
	values map[string]string
}

func (b *bulk) put(key gridstore.Key, text string) error {
	b.values[key.String()] = text
	if len(b.values) < putAtOnce {
		return nil
	}
	return b.flush()
}

func (b *bulk) flush() error {
	_, err := b.member.ask(order{Put: b.values})
	b.values = map[string]string{}
	return err
}

// sign puts a value that a node signs.
func (b *bulk) sign(n *node, key gridstore.Key, kind trust.Kind, payload any) error {
	text, err := versioned(payload)
	if err != nil {
		return err
	}
	signed, err := n.key.Sign(n.name, kind, strings.TrimPrefix(key.String(), "/zosnet/v1/"), uint64(time.Now().UnixMilli()), []byte(text))
	if err != nil {
		return err
	}
	return b.put(key, string(signed))
}

// versioned gives a value as JSON with its version, as docs/registry.md has it.
func versioned(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return "", err
	}
	fields["version"] = json.RawMessage("1")
	text, err = json.Marshal(fields)
	return string(text), err
}

// load writes every node's record and every network with its parts and workloads.
func (g *grid) load() error {
	b := &bulk{g.member, map[string]string{}}
	for _, n := range g.nodes {
		if err := b.sign(n, gridstore.Key{Kind: gridstore.KindRecord, Node: n.name}, trust.KindRecord, n.record()); err != nil {
			return err
		}
	}
	for _, network := range g.networks {
		if err := b.network(g, network); err != nil {
			return err
		}
	}
	return b.flush()
}

func (b *bulk) network(g *grid, network *network) error {
	d, err := g.next(network)
	if err != nil {
		return err
	}
	d.Applied = time.Now().UTC()
	text, err := versioned(d)
	if err != nil {
		return err
	}
	if err := b.put(gridstore.Key{Kind: gridstore.KindDocument, Network: network.name}, text); err != nil {
		return err
	}
	for _, n := range network.nodes {
		if err := b.part(n, network.name); err != nil {
			return err
		}
	}
	return nil
}

// part writes what a node carries of a network, and what the registry has to tell it.
func (b *bulk) part(n *node, network string) error {
	part, workload := n.carries(network)
	if err := b.sign(n, gridstore.Key{Kind: gridstore.KindPart, Node: n.name, Network: network}, trust.KindNetwork, part); err != nil {
		return err
	}
	key := gridstore.Key{Kind: gridstore.KindAttachment, Node: n.name, Network: network, Workload: workload.Workload}
	if err := b.sign(n, key, trust.KindAttachment, workload); err != nil {
		return err
	}
	claim := gridstore.Key{Kind: gridstore.KindClaim, Network: network, Workload: workload.Workload}
	if err := b.put(claim, `{"node":"`+n.name+`","version":1}`); err != nil {
		return err
	}
	return b.put(gridstore.Key{Kind: gridstore.KindSpan, Node: n.name, Network: network}, `{"version":1}`)
}
