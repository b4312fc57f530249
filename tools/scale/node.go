package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// node is one node: its client of the registry and its plan.
type node struct {
	grid     *grid
	index    int
	name     string
	key      *trust.NodeKey
	pem      []byte
	identity *trust.Identity
	spec     *spec.Node

	client *gridstore.Client
	end    context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	planning bool
	failed   error
	ids      map[string]uint32 // of networks here, dense
	services map[string]map[string]uint32
	planned  map[string]uint64 // the revision of each network in the plan
	memo     plan.Memo
	state    plan.State
	took     time.Duration // to plan, in all
	plans    int
}

// certify makes the node's key and has its certificate made.
func (n *node) certify() (err error) {
	if n.key, err = trust.NewNodeKey(); err != nil {
		return err
	}
	request, err := n.request()
	if err != nil {
		return err
	}
	if n.pem, err = n.grid.ca.Issue(request, n.address(), time.Now()); err != nil {
		return err
	}
	if n.identity, err = n.grid.roots.Identity(n.name, n.pem); err != nil {
		return err
	}
	n.spec = &spec.Node{Name: n.name, Endpoint: netip.AddrFrom4([4]byte{10, 0, byte(n.index >> 8), byte(n.index)}),
		Prefixes: []netip.Prefix{n.block()}}
	return nil
}

func (n *node) request() (*trust.Request, error) {
	text, err := n.key.Request(n.name, n.controlKey())
	if err != nil {
		return nil, err
	}
	return trust.ParseRequest(text)
}

// controlKey and address are nobody's: there is no control network here.
func (n *node) controlKey() trust.ControlKey { return sha256.Sum256([]byte("control " + n.name)) }

func (n *node) address() netip.Addr {
	return netip.AddrFrom16([16]byte{0xfd, 0, 0x7a, 0x6f, 15: byte(n.index), 14: byte(n.index >> 8), 13: 1})
}

func (n *node) admission() gridstore.Admission {
	return gridstore.Admission{Node: n.name, Address: n.address(), ControlKey: n.controlKey(), Admitted: time.Now()}
}

// open starts the node.
func (n *node) open(ctx context.Context) error {
	tls, err := n.grid.tls(n)
	if err != nil {
		return err
	}
	n.client, err = gridstore.Open(gridstore.Config{
		Node: n.name, Endpoints: []string{"https://" + netip.AddrPortFrom(serverAddress, clientPort).String()}, TLS: tls,
		Key: n.key, Identity: n.identity, Roots: n.grid.roots, CacheFile: filepath.Join(n.grid.dir, "caches", n.name+".db"),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ctx, n.end = context.WithCancel(context.WithoutCancel(ctx))
	n.done.Go(func() { n.client.KeepLive(ctx, gridstore.LiveTTL) })
	n.done.Go(func() { n.follow(ctx) })
	// As a daemon, it goes on trying when the registry has too much to do.
	for err = errUnpublished; err != nil && ctx.Err() == nil; {
		err = n.client.PutRecord(ctx, n.record())
	}
	return err
}

var errUnpublished = errors.New("not published yet")

func (n *node) close() error {
	if n.client == nil {
		return nil
	}
	n.end()
	n.done.Wait()
	return n.client.Close()
}

// follow plans each snapshot.
func (n *node) follow(ctx context.Context) {
	for range n.client.Watch(ctx) {
		n.mu.Lock()
		if n.planning {
			if err := n.plan(n.client.Snapshot(), time.Now()); err != nil {
				n.failed = err
			}
		}
		n.mu.Unlock()
	}
}

// carries gives what the node carries of a network: its /64, its key, and a workload.
func (n *node) carries(network string) (gridstore.Part, gridstore.Attachment) {
	prefix := n.prefix(n.id(network))
	return gridstore.Part{Prefix: prefix, PublicKey: wireguard.PublicKey(n.networkKey(network)).String(), Port: n.port(network),
			Block: n.block(), Holder: n.holder().name},
		gridstore.Attachment{Workload: "web-" + n.name, Service: "web", Kind: "netns",
			Host: workloadHost, Address: ipam.Address(prefix, workloadHost)}
}

func (n *node) record() gridstore.Record {
	return gridstore.Record{Class: "dc-dual", Endpoint: n.spec.Endpoint}
}

// nodesOfHolder is how many nodes have their blocks of one allocation.
const nodesOfHolder = 50

// workloadHost is the host number of each node's one workload.
const workloadHost = 0x100

// id numbers the networks here as they come.
func (n *node) id(network string) uint32 {
	if n.ids[network] == 0 {
		n.ids[network] = uint32(len(n.ids) + 1)
	}
	return n.ids[network]
}

// holder is the node whose allocation this one has its block of.
func (n *node) holder() *node { return n.grid.nodes[n.index/nodesOfHolder*nodesOfHolder] }

// allocation is the /48 of a holder.
func (n *node) allocation() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n.index >> 8), byte(n.index)}), 48)
}

// block is what the node has of its holder's allocation.
func (n *node) block() netip.Prefix {
	raw := n.holder().allocation().Addr().As16()
	raw[6] = byte(n.index % nodesOfHolder)
	return netip.PrefixFrom(netip.AddrFrom16(raw), ipam.BlockBits)
}

// hold gives each node of this holder its block.
func (n *node) hold(ctx context.Context) error {
	select {
	case <-n.client.Complete(): // else it is closed over its first reading
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := n.client.UpdateHolding(ctx, func(h ipam.Holding, _ *gridstore.Others) (ipam.Holding, error) {
		now := time.Now()
		h, err := h.Register(ipam.Registration{Prefix: n.allocation(), Holder: n.name, Source: "a registry", Registered: now}, nil, now)
		for _, one := range n.grid.nodes[n.index:min(len(n.grid.nodes), n.index+nodesOfHolder)] {
			if err == nil {
				h, _, err = h.Delegate(one.name, 1, 0, now) // the lowest that is free
			}
		}
		return h, err
	})
	return err
}

// prefix is the /64 of the network of that id, in the node's block.
func (n *node) prefix(id uint32) netip.Prefix {
	raw := n.block().Addr().As16()
	raw[7] = byte(id)
	return netip.PrefixFrom(netip.AddrFrom16(raw), ipam.NetworkBits)
}

// networkKey is nobody's: there are no devices here.
func (n *node) networkKey(network string) [32]byte {
	return sha256.Sum256([]byte(n.name + " " + network))
}

func (n *node) port(network string) uint16 { return wireguard.FirstPort + uint16(n.id(network)) }

// knows tells whether the node has heard of every part and workload of its networks, and
// of the blocks that the parts of others are of.
func (n *node) knows(networks int) bool {
	snap := n.client.Snapshot()
	if snap.Source != gridstore.SourceCluster || len(snap.Networks) != networks {
		return false
	}
	for _, one := range snap.Networks {
		if len(one.Parts) != n.grid.span || len(one.Attachments) != n.grid.span {
			return false
		}
		for at, part := range one.Parts {
			if _, delegated := snap.Block(part.Holder, part.Block); !delegated && at != n.name {
				return false
			}
		}
	}
	return true
}

func (n *node) failure() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}
