package registry

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// PutRegistration notes an allocation that this node holds; of one that is there it
// changes what is known of it. Whose it is, and what it must not overlap, is the
// caller's to check.
func (s *Store) PutRegistration(ctx context.Context, r ipam.Registration) error {
	v := registrationValue{Version: formatVersion, Source: r.Source, Contact: r.Contact, Registered: r.Registered.UTC()}
	_, err := s.change(ctx, func(c *change) error { return c.put(registrationKey(r.Prefix), v) })
	return err
}

// DeleteRegistration forgets an allocation. One that is not there gives a
// *NotFoundError.
func (s *Store) DeleteRegistration(ctx context.Context, p netip.Prefix) error {
	_, err := s.change(ctx, func(c *change) error {
		var old registrationValue
		revision, err := c.get(registrationKey(p), &old)
		if err != nil {
			return err
		}
		if revision == 0 {
			return &NotFoundError{Kind: "registration", Name: p.String()}
		}
		c.delete(registrationKey(p))
		c.adds = false
		return nil
	})
	return err
}

// PutBlocks makes these, and no others, the blocks that this node has. The same
// again changes nothing.
func (s *Store) PutBlocks(ctx context.Context, blocks []Block) error {
	_, err := s.change(ctx, func(c *change) error {
		have := map[netip.Prefix]Block{}
		err := c.list(blocksRoot, func(rest string, kv *mvccpb.KeyValue) error {
			var snap Snapshot
			err := snap.addBlock(string(kv.Key), rest, kv.Value)
			for _, b := range snap.Blocks {
				have[b.Block] = b
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, b := range blocks {
			if had, known := have[b.Block]; known && had == b {
				continue
			}
			if err := c.put(blockKey(b.Block), blockValue{Version: formatVersion, Holder: b.Holder, GivenBack: b.GivenBack}); err != nil {
				return err
			}
		}
		for p := range have {
			if !slices.ContainsFunc(blocks, func(b Block) bool { return b.Block == p }) {
				c.delete(blockKey(p))
			}
		}
		return nil
	})
	return err
}

func (snap *Snapshot) addRegistration(key, rest string, raw []byte) error {
	var v registrationValue
	p, err := decodeUnder(key, rest, raw, &v)
	snap.Registrations = append(snap.Registrations, ipam.Registration{
		Prefix: p, Source: v.Source, Contact: v.Contact, Registered: v.Registered,
	})
	return err
}

func (snap *Snapshot) addBlock(key, rest string, raw []byte) error {
	var v blockValue
	p, err := decodeUnder(key, rest, raw, &v)
	snap.Blocks = append(snap.Blocks, Block{Block: p, Holder: v.Holder, GivenBack: v.GivenBack})
	return err
}

// decodeUnder decodes the value of a key that ends in a prefix.
func decodeUnder(key, rest string, raw []byte, into any) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(rest)
	if err != nil {
		return p, fmt.Errorf("registry key %s: %w", key, err)
	}
	return p, decode(key, raw, into)
}
