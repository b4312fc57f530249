package gridstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// rootUser and rootRole are etcd's own names for its administrator.
const (
	rootUser = "root"
	rootRole = "root"
)

// Root runs a request as etcd's administrator: registry.Member.AsRoot, or
// RootClient.
type Root func(ctx context.Context, request func(context.Context, *clientv3.Client) error) error

// What bounds a request of root whose rights are looked at anew.
const (
	rootAttempts = 20
	rootPause    = 20 * time.Millisecond // longer by as much after each attempt
)

// do runs a request. etcd refuses what was begun before anybody's rights changed, as
// they do when another node is let in meanwhile ("revision of auth store is old"), and
// does nothing of it. So the request is made again from its beginning: it must bear to
// find done what it has done.
func (r Root) do(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
	for attempt := time.Duration(1); ; attempt++ {
		err := r(ctx, request)
		if attempt == rootAttempts || !errors.Is(err, rpctypes.ErrAuthOldRevision) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(attempt * rootPause):
		}
	}
}

// Root is root of an etcd that somebody else runs, if this node's user there has the
// role root.
func (c *Client) Root() Root { return RootClient(c.etcd) }

// RootClient is root of an etcd that somebody else runs: a client whose certificate
// names a user with the role root.
func RootClient(etcd *clientv3.Client) Root {
	return func(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return request(ctx, etcd)
	}
}

// Protect makes etcd ask who calls: from then on a client is the user that its
// certificate's CN names, and may do what Admit let it. It may be called again.
func (r Root) Protect(ctx context.Context) error {
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		status, err := etcd.AuthStatus(ctx)
		if err != nil {
			return fmt.Errorf("ask the grid's registry whether it is protected: %w", err)
		}
		if status.Enabled {
			return nil
		}
		steps := []func() error{
			func() error { _, err := etcd.RoleAdd(ctx, rootRole); return known(err) },
			func() error { return addUser(ctx, etcd, rootUser) },
			func() error { _, err := etcd.UserGrantRole(ctx, rootUser, rootRole); return err },
			func() error { _, err := etcd.AuthEnable(ctx); return err },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("protect the grid's registry: %w", err)
			}
		}
		return nil
	})
}

// ErrUnprotected says that an etcd that somebody else runs asks nobody who they are.
var ErrUnprotected = errors.New("this etcd lets everybody in: its operator must make the user of this node, give it the role root, and switch authentication on (etcdctl user add NODE --no-password; user grant-role NODE root; auth enable)")

// Protected gives ErrUnprotected where etcd does not ask who calls. An etcd that
// somebody else runs is not ours to protect: who did so without being its root would
// lock everybody out.
func (r Root) Protected(ctx context.Context) error {
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		status, err := etcd.AuthStatus(ctx)
		if err != nil {
			return fmt.Errorf("ask the grid's registry whether it is protected: %w", err)
		}
		if !status.Enabled {
			return ErrUnprotected
		}
		return nil
	})
}

// known takes errors for success that say that something is there already.
func known(err error) error {
	if errors.Is(err, rpctypes.ErrRoleAlreadyExist) || errors.Is(err, rpctypes.ErrUserAlreadyExist) {
		return nil
	}
	return err
}

// addUser adds a user without password: who has a certificate of that CN is it.
func addUser(ctx context.Context, etcd *clientv3.Client, user string) error {
	_, err := etcd.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true})
	return known(err)
}

// allow lets a node read everything of the grid, and write its own keys, and
// documents, spans and claims, which prove themselves or open nothing.
func (r Root) allow(ctx context.Context, node string) error {
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		grant := func(under string, may clientv3.PermissionType) func() error {
			return func() error {
				_, err := etcd.RoleGrantPermission(ctx, node, under, clientv3.GetPrefixRangeEnd(under), may)
				return err
			}
		}
		write := clientv3.PermissionType(clientv3.PermReadWrite)
		steps := []func() error{
			func() error { _, err := etcd.RoleAdd(ctx, node); return known(err) },
			grant(root, clientv3.PermissionType(clientv3.PermRead)),
			grant(nodeRoot(node), write), grant(networksRoot, write), grant(claimsRoot, write), grant(spansRoot, write),
			func() error { return addUser(ctx, etcd, node) },
			func() error { _, err := etcd.UserGrantRole(ctx, node, node); return err },
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("give node %s its rights in the grid's registry: %w", node, err)
			}
		}
		return nil
	})
}

// Expel takes a node out of the registry, when its certificates have been revoked:
// its rights first, then its keys, its spans and its claims. Documents that name it
// stay. That it was taken out is noted: only then do blocks that others delegated to
// it rest. It may be called again.
func (r Root) Expel(ctx context.Context, node string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	removed, err := encode(&removal{At: time.Now().UTC()}, nil)
	if err != nil {
		return err
	}
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		if _, err := etcd.UserDelete(ctx, node); err != nil && !errors.Is(err, rpctypes.ErrUserNotFound) {
			return fmt.Errorf("take node %s its rights in the grid's registry: %w", node, err)
		}
		if _, err := etcd.RoleDelete(ctx, node); err != nil && !errors.Is(err, rpctypes.ErrRoleNotFound) {
			return fmt.Errorf("take node %s its rights in the grid's registry: %w", node, err)
		}
		claims, err := etcd.Get(ctx, claimsRoot, clientv3.WithPrefix())
		if err != nil {
			return fmt.Errorf("read the claims of node %s: %w", node, err)
		}
		for _, kv := range claims.Kvs {
			var c claim
			if decode(kv.Value, &c) != nil || c.Node != node {
				continue
			}
			same := clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)
			if _, err := etcd.Txn(ctx).If(same).Then(clientv3.OpDelete(string(kv.Key))).Commit(); err != nil {
				return fmt.Errorf("take back the claims of node %s: %w", node, err)
			}
		}
		_, err = etcd.Txn(ctx).Then(
			clientv3.OpDelete(nodeRoot(node), clientv3.WithPrefix()),
			clientv3.OpDelete(spansOf(node), clientv3.WithPrefix()),
			clientv3.OpDelete(Key{Kind: KindRoster, Node: node}.String()),
			clientv3.OpDelete(Key{Kind: KindMember, Node: node}.String()),
			clientv3.OpDelete(Key{Kind: KindIssued, Node: node}.String()),
			clientv3.OpPut(Key{Kind: KindRemoved, Node: node}.String(), string(removed)),
		).Commit()
		if err != nil {
			return fmt.Errorf("delete what node %s wrote: %w", node, err)
		}
		return nil
	})
}
