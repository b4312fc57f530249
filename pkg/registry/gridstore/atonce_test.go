package gridstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// TestAdmittedAtOnce: that nodes are let in changes who may do what in etcd, and etcd
// refuses what was begun before. Nobody notices: not who lets another one in at the same
// moment, and not who reads and writes.
func TestAdmittedAtOnce(t *testing.T) {
	t.Parallel()
	const first, last = 10, 21
	g := single(t, 2)
	clients := []*Client{g.open(1), g.open(2)}
	for n := first; n <= last; n++ {
		g.node(n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()

	admitted := make(chan struct{})
	others, othersCtx := errgroup.WithContext(ctx)
	for _, c := range clients {
		others.Go(func() error { return speakUntil(othersCtx, c, admitted) })
	}
	others.Go(func() error { return administerUntil(othersCtx, g.root(), admitted) })

	var admits errgroup.Group
	for n := first; n <= last; n++ {
		node := g.nodes[n]
		a := Admission{Node: node.name, Address: controlAddress(n), ControlKey: node.identity.ControlKey, Admitted: time.Now()}
		admits.Go(func() error {
			for { // the roster is everybody's: who was overtaken looks at it again
				if err := g.root().Admit(ctx, a, node.pem, "", nil); !errors.Is(err, ErrStale) {
					return err
				}
			}
		})
	}
	if err := admits.Wait(); err != nil {
		t.Error(err)
	}
	close(admitted)
	if err := others.Wait(); err != nil {
		t.Error(err)
	}
	if list, err := clients[0].Roster(ctx); err != nil || len(list) != 2+last-first+1 {
		t.Errorf("the roster has %d nodes: %v", len(list), err)
	}
}

// speakUntil has a node read and write what it may.
func speakUntil(ctx context.Context, c *Client, end <-chan struct{}) error {
	for i := 0; ; i++ {
		select {
		case <-end:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if err := c.PutRecord(ctx, Record{Class: "dc-dual", Program: fmt.Sprint(i)}); err != nil {
			return err
		}
		if _, err := c.Roster(ctx); err != nil {
			return err
		}
	}
}

// administerUntil has a member publish what only root may.
func administerUntil(ctx context.Context, root Root, end <-chan struct{}) error {
	for i := 0; ; i++ {
		select {
		case <-end:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if err := root.PutMember(ctx, "n2", netip.AddrPortFrom(controlAddress(2), uint16(1+i%1000)), nil); err != nil {
			return err
		}
	}
}

// A request of root that meets nothing but changes of rights ends, and one that fails for
// another reason is made once.
func TestRootIsBounded(t *testing.T) {
	t.Parallel()
	other := errors.New("another reason")
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"rights that change all the time": {rpctypes.ErrAuthOldRevision, rootAttempts},
		"another reason":                  {other, 1},
		"none":                            {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			made := 0
			root := Root(func(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
				return request(ctx, nil)
			})
			err := root.do(t.Context(), func(context.Context, *clientv3.Client) error {
				made++
				return errors.Join(test.err) // as whoever asks wraps it
			})
			if !errors.Is(err, test.err) || made != test.want {
				t.Errorf("made %d times, %v; want %d times, %v", made, err, test.want, test.err)
			}
		})
	}
}
