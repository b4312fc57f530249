package gridstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// ErrStale says that what a change was computed from has changed meanwhile: compute
// it again.
var ErrStale = errors.New("others changed the grid's registry meanwhile")

func (a *admission) admission(node string) *Admission {
	return &Admission{Node: node, Address: a.Address, ControlKey: a.ControlKey, Admitted: a.Admitted}
}

// Admit lets a node in: its rights, and in one transaction its place in the roster,
// its certificate (PEM), and that the token of the node by is used. For the grid's
// first node there is no token. The same again changes nothing. ErrStale when the
// token is not what it was when it was read;
// a *TakenError when name, address or key are another's.
func (r Root) Admit(ctx context.Context, a Admission, pem []byte, by string, used *trust.PendingToken) error {
	if err := CheckNode(a.Node); err != nil {
		return err
	}
	if err := r.allow(ctx, a.Node); err != nil {
		return err
	}
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		t := rootTxn{ctx: ctx, etcd: etcd}
		if err := t.roster(a); err != nil {
			return err
		}
		t.certify(a.Node, pem)
		t.ops = append(t.ops, clientv3.OpDelete(Key{Kind: KindRemoved, Node: a.Node}.String()))
		if used != nil {
			t.use(Key{Kind: KindToken, Node: by, Token: used.ID}, *used)
		}
		if err := t.commit(); err != nil {
			return fmt.Errorf("admit node %s to the grid: %w", a.Node, err)
		}
		return nil
	})
}

// rootTxn is a transaction of root being put together.
type rootTxn struct {
	ctx      context.Context
	etcd     *clientv3.Client
	compares []clientv3.Cmp
	ops      []clientv3.Op
	err      error
}

// roster enters a node unless another has its name, address or key.
func (t *rootTxn) roster(a Admission) error {
	resp, err := t.etcd.Get(t.ctx, rosterRoot, clientv3.WithPrefix())
	if err != nil {
		return fmt.Errorf("read the roster of the grid: %w", err)
	}
	for _, kv := range resp.Kvs {
		k, err := ParseKey(string(kv.Key))
		if err != nil {
			continue
		}
		var other admission
		if decode(kv.Value, &other) != nil {
			continue
		}
		same := other.Address == a.Address && other.ControlKey == a.ControlKey
		var what string
		switch {
		case k.Node == a.Node && same:
			continue
		case k.Node == a.Node:
			what = fmt.Sprintf("the node name %q", a.Node)
		case other.Address == a.Address:
			what = "the control address " + a.Address.String()
		case other.ControlKey == a.ControlKey:
			what = "the control key " + a.ControlKey.String()
		default:
			continue
		}
		return &TakenError{What: what, By: k.Node}
	}
	unchanged := clientv3.Compare(clientv3.ModRevision(rosterRoot), "<", resp.Header.Revision+1).WithPrefix()
	t.compares = append(t.compares, unchanged)
	t.put(Key{Kind: KindRoster, Node: a.Node}, &admission{Admitted: a.Admitted.UTC(), Address: a.Address, ControlKey: a.ControlKey})
	return nil
}

// TakenError says that another node of the grid has a name, an address or a key.
type TakenError struct{ What, By string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s is taken by node %s of the grid", e.What, e.By)
}

// use marks a token as used, if it is not used by another yet.
func (t *rootTxn) use(k Key, used trust.PendingToken) {
	resp, err := t.etcd.Get(t.ctx, k.String())
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	var was token
	if len(resp.Kvs) == 0 || decode(resp.Kvs[0].Value, &was) != nil ||
		was.Used != nil && (used.Used == nil || was.Used.Node != used.Used.Node) {
		t.err = errors.Join(t.err, ErrStale)
		return
	}
	t.compares = append(t.compares, clientv3.Compare(clientv3.ModRevision(k.String()), "=", resp.Kvs[0].ModRevision))
	t.put(k, &token{PendingToken: used})
}

// certify gives a node its certificates, the newest first, and notes that the newest
// was made.
func (t *rootTxn) certify(node string, pem []byte) {
	k := Key{Kind: KindIssued, Node: node}
	resp, err := t.etcd.Get(t.ctx, k.String())
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	var was issued
	var at int64
	if len(resp.Kvs) == 1 {
		at = resp.Kvs[0].ModRevision
		if err := decode(resp.Kvs[0].Value, &was); err != nil {
			t.err = errors.Join(t.err, fmt.Errorf("registry key %s: %w", k, err))
			return
		}
	}
	list, err := trust.Issued([]byte(was.PEM), pem, time.Now())
	t.err = errors.Join(t.err, err)
	t.compares = append(t.compares, clientv3.Compare(clientv3.ModRevision(k.String()), "=", at))
	t.put(k, &issued{PEM: string(list)})
	t.put(Key{Kind: KindCertificate, Node: node}, &certificate{PEM: string(pem)})
}

// put writes a value over what is there.
func (t *rootTxn) put(k Key, v value) {
	resp, err := t.etcd.Get(t.ctx, k.String())
	if err != nil {
		t.err = errors.Join(t.err, err)
		return
	}
	var old []byte
	if len(resp.Kvs) == 1 {
		old = resp.Kvs[0].Value
	}
	raw, err := encode(v, old)
	t.err = errors.Join(t.err, err)
	t.ops = append(t.ops, clientv3.OpPut(k.String(), string(raw)))
}

func (t *rootTxn) commit() error {
	if t.err != nil {
		return t.err
	}
	resp, err := t.etcd.Txn(t.ctx).If(t.compares...).Then(t.ops...).Commit()
	if err == nil && !resp.Succeeded {
		err = ErrStale
	}
	return err
}

// Renew puts a node's certificates (PEM, the newest first) in place of those that
// it has. ErrStale when it is not in the roster with this key.
func (r Root) Renew(ctx context.Context, node string, key trust.ControlKey, pem []byte) error {
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		place := Key{Kind: KindRoster, Node: node}.String()
		resp, err := etcd.Get(ctx, place)
		if err != nil {
			return fmt.Errorf("renew the certificate of node %s: %w", node, err)
		}
		var has admission
		if len(resp.Kvs) == 0 || decode(resp.Kvs[0].Value, &has) != nil || has.ControlKey != key {
			return fmt.Errorf("renew the certificate of node %s: %w", node, ErrStale)
		}
		t := rootTxn{ctx: ctx, etcd: etcd}
		t.compares = append(t.compares, clientv3.Compare(clientv3.ModRevision(place), "=", resp.Kvs[0].ModRevision))
		t.certify(node, pem)
		if err := t.commit(); err != nil {
			return fmt.Errorf("renew the certificate of node %s: %w", node, err)
		}
		return nil
	})
}
