package gridstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Recover notes in a registry whose only member is left that it goes on with what that
// one had, and that there are no other members; at is where it serves clients. Nodes
// that come to it from the registry as it was read everything again, and a member of
// that one learns that it is none. It gives the number of the recovery, which is higher
// than that of any before.
func (r Root) Recover(ctx context.Context, node string, at netip.AddrPort, now time.Time) (number uint64, err error) {
	if err := CheckNode(node); err != nil {
		return 0, err
	}
	err = r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		was, err := etcd.Get(ctx, recoveryAt)
		if err != nil {
			return err
		}
		members, err := etcd.Get(ctx, membersRoot, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		// Two who recover without knowing of each other still have two numbers.
		number = max(recoveryIn(was.Kvs)+1, uint64(now.UnixMilli()))
		t := rootTxn{ctx: ctx, etcd: etcd}
		t.put(Key{Kind: KindRecovery}, &recovery{Number: number, Node: node, At: now.UTC(), Revision: was.Header.Revision})
		t.put(Key{Kind: KindMember, Node: node}, &member{Client: at})
		for _, kv := range members.Kvs {
			if name := strings.TrimPrefix(string(kv.Key), membersRoot); name != node {
				t.ops = append(t.ops, clientv3.OpDelete(string(kv.Key)))
			}
		}
		return t.commit()
	})
	if err != nil {
		return 0, fmt.Errorf("note in the grid's registry that node %s recovered it: %w", node, err)
	}
	return number, nil
}

// recoveryIn gives the number of the recovery in an answer to a question for it.
func recoveryIn(kvs []*mvccpb.KeyValue) uint64 {
	var is recovery
	if len(kvs) == 0 || decode(kvs[0].Value, &is) != nil {
		return 0
	}
	return is.Number
}

// Standing is what one member has of the registry that it is part of.
type Standing struct {
	Revision int64  // up to which it has it
	Recovery uint64 // of which recovery its registry is
}

// Ask asks one member, at https://ADDRESS:PORT and nobody else, how it stands, within
// ctx. One that has lost its majority answers, too; one that was started without does
// not.
func Ask(ctx context.Context, endpoint string, tls *tls.Config) (Standing, error) {
	resp, err := askOne(ctx, endpoint, tls, clientv3.WithSerializable())
	if err != nil {
		return Standing{}, err
	}
	return Standing{Revision: resp.Header.Revision, Recovery: recoveryIn(resp.Kvs)}, nil
}

// Serves asks one member for an answer of a majority, within ctx.
func Serves(ctx context.Context, endpoint string, tls *tls.Config) error {
	_, err := askOne(ctx, endpoint, tls)
	return err
}

func askOne(ctx context.Context, endpoint string, tls *tls.Config, how ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, TLS: checkServer(tls), DialTimeout: dialTimeout, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("ask the member at %s: %w", endpoint, err)
	}
	defer func() { _ = etcd.Close() }()
	resp, err := etcd.Get(ctx, recoveryAt, how...)
	if err != nil {
		return nil, fmt.Errorf("ask the member at %s: %w", endpoint, err)
	}
	return resp, nil
}
