package ipam_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/zosnet/zosnet/pkg/ipam"
)

const nodesRoot = "/zosnet/v1/nodes/"

// grid is what the tests keep in a real etcd, under the grid's keys.
type grid struct{ *clientv3.Client }

func startGrid(t *testing.T) grid {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Host: filepath.Join(cfg.Dir, "client.sock")}}
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "unix", Host: "client.sock"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.LogLevel = "fatal"
	cfg.UnsafeNoFsync = true // the allocators are killed here, not etcd
	cfg.MaxTxnOps = 1 << 12
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client := v3client.New(e.Server)
	t.Cleanup(func() {
		_ = client.Close() // says context canceled to its own close
		e.Close()
	})
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		t.Fatal("etcd does not serve")
	}
	return grid{client}
}

type delegationValue struct {
	Version int       `json:"version"`
	Node    string    `json:"node"`
	Until   time.Time `json:"restsUntil,omitzero"`
}

type requestValue struct {
	Version int          `json:"version"`
	Request ipam.Request `json:"request"`
}

func prefixKey(holder string, p netip.Prefix) string {
	return nodesRoot + holder + "/prefixes/" + p.String()
}
func blockKey(holder string, p netip.Prefix) string {
	return nodesRoot + holder + "/delegations/" + p.String()
}
func requestKey(node string) string { return nodesRoot + node + "/requests/blocks" }

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of this file
	}
	return string(raw)
}

// reading is everything in the grid at one revision.
type reading struct {
	revision int64
	holdings map[string]ipam.Holding
	requests map[string]ipam.Request
	asked    map[string]int64 // mod revision of each request's key
}

func (g grid) read(ctx context.Context) (reading, error) {
	r := reading{holdings: map[string]ipam.Holding{}, requests: map[string]ipam.Request{}, asked: map[string]int64{}}
	response, err := g.Get(ctx, nodesRoot, clientv3.WithPrefix())
	if err != nil {
		return r, err
	}
	r.revision = response.Header.Revision
	for _, kv := range response.Kvs {
		path := strings.SplitN(strings.TrimPrefix(string(kv.Key), nodesRoot), "/", 3)
		node, kind, rest := path[0], path[1], path[2]
		h, known := r.holdings[node]
		if !known {
			h = ipam.Holding{Holder: node, Registrations: map[netip.Prefix]ipam.Registration{}, Blocks: map[netip.Prefix]ipam.Delegation{}}
		}
		var d delegationValue
		var q requestValue
		switch kind {
		case "prefixes":
			h.Registrations[netip.MustParsePrefix(rest)] = ipam.Registration{Prefix: netip.MustParsePrefix(rest), Holder: node}
		case "delegations":
			err = json.Unmarshal(kv.Value, &d)
			h.Blocks[netip.MustParsePrefix(rest)] = ipam.Delegation{Node: d.Node, Until: d.Until}
		case "requests":
			err = json.Unmarshal(kv.Value, &q)
			r.requests[node], r.asked[node] = q.Request, kv.ModRevision
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", kv.Key, err)
		}
		if kind != "requests" {
			r.holdings[node] = h
		}
	}
	return r, nil
}

// write stores what differs between two values of a holding, if nothing that it
// was computed from has changed: the holder's keys and the requests.
func (g grid) write(ctx context.Context, r reading, before, after ipam.Holding) error {
	under := nodesRoot + before.Holder + "/"
	compares := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(under), "<", r.revision+1).WithPrefix()}
	for node, revision := range r.asked {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(requestKey(node)), "=", revision))
	}
	var ops []clientv3.Op
	for p, d := range after.Blocks {
		if old, known := before.Blocks[p]; !known || old != d {
			ops = append(ops, clientv3.OpPut(blockKey(before.Holder, p), encode(delegationValue{1, d.Node, d.Until})))
		}
	}
	for p := range before.Blocks {
		if _, kept := after.Blocks[p]; !kept {
			ops = append(ops, clientv3.OpDelete(blockKey(before.Holder, p)))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	response, err := g.Txn(ctx).If(compares...).Then(ops...).Commit()
	if err == nil && !response.Succeeded {
		err = errStale
	}
	return err
}

var errStale = errors.New("something has changed meanwhile")

// change changes a holding; the change is computed again where others were faster.
func (g grid) change(ctx context.Context, holder string, compute func(reading, ipam.Holding) (ipam.Holding, error)) error {
	for {
		r, err := g.read(ctx)
		if err != nil {
			return err
		}
		before := r.holdings[holder]
		after, err := compute(r, before)
		if err != nil {
			return err
		}
		if err := g.write(ctx, r, before, after); !errors.Is(err, errStale) {
			return err
		}
	}
}
