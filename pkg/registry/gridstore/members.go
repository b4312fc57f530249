package gridstore

import (
	"context"
	"fmt"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// PutMember publishes where a member serves the registry's clients: every node
// hears of it and goes there. One that is about to be a member serves nobody yet
// (at is not valid) and hears what cluster it is to join, as registry.AddMember
// gave it.
func (r Root) PutMember(ctx context.Context, node string, at netip.AddrPort, cluster map[string]netip.AddrPort) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		t := rootTxn{ctx: ctx, etcd: etcd}
		t.put(Key{Kind: KindMember, Node: node}, &member{Client: at, Cluster: cluster})
		if err := t.commit(); err != nil {
			return fmt.Errorf("publish member %s of the grid: %w", node, err)
		}
		return nil
	})
}

// DeleteMember publishes that a node is no member. It may be called again.
func (r Root) DeleteMember(ctx context.Context, node string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		if _, err := etcd.Delete(ctx, Key{Kind: KindMember, Node: node}.String()); err != nil {
			return fmt.Errorf("publish that node %s is no member of the grid: %w", node, err)
		}
		return nil
	})
}
