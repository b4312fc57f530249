package gridstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/zosnet/zosnet/pkg/trust"
)

// Times of a client.
const (
	dialTimeout      = 5 * time.Second
	keepAliveTime    = 10 * time.Second // the server may be gone without a word after
	keepAliveTimeout = 5 * time.Second
	callTimeout      = 10 * time.Second // one request
	changeTimeout    = 30 * time.Second // one change, over the loss of a leader
)

// Config says who asks whom, and who is believed.
type Config struct {
	Node      string      // this node
	Endpoints []string    // https://ADDRESS:PORT of the members
	TLS       *tls.Config // presents the node's certificate; its ServerName is trust.MemberHostname
	Key       *trust.NodeKey
	Identity  *trust.Identity // this node's
	Roots     *trust.Roots
	Accept    trust.Accept
	CacheFile string   // STATEDIR/grid/cache.db; empty: there is no cache
	Peers     []string // nodes that concern this one whatever its networks are: its exit
	Log       *slog.Logger
}

// Client is a node's part in the grid's registry: it keeps a proven copy of what
// concerns the node, also in a file, and writes what the node may write. Its
// methods may be called from several goroutines.
type Client struct {
	cfg   Config
	etcd  *clientv3.Client
	now   func() time.Time
	cache *cache
	end   context.CancelFunc
	done  sync.WaitGroup

	recalled time.Time // when what the cache had was confirmed; zero: it had nothing

	// Of run's goroutine.
	revision int64 // up to which the copy is complete; 0: everything is to be read
	cluster  uint64
	saved    time.Time
	members  []string       // their endpoints, as the grid last said
	entries  map[string]int // of the cache, by bucket
	unsaved  string         // why the cache cannot be written, as it was logged
	again    chan struct{}  // everything is to be judged again
	forgets  chan *forgetting
	ended    <-chan struct{} // closed once run is to end

	mu        sync.Mutex
	state     *state
	current   Snapshot
	away      error // why the registry cannot be followed
	listeners map[chan struct{}]bool
	complete  chan struct{} // closed once a snapshot is from the cluster
	closed    bool
	wrote     int64 // the revision at which this node last changed what it holds or asks
}

// Open starts a client. It has what the cache has at once, and does not wait for
// the registry, which may be away. A broken cache is set aside.
func Open(cfg Config) (*Client, error) {
	if err := CheckNode(cfg.Node); err != nil {
		return nil, err
	}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, TLS: checkServer(cfg.TLS), DialTimeout: dialTimeout,
		DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout, PermitWithoutStream: true,
		Logger: zap.NewNop(), // whoever asks says what fails
	})
	if err != nil {
		return nil, fmt.Errorf("speak to the grid's registry at %v: %w", cfg.Endpoints, err)
	}
	c := &Client{cfg: cfg, etcd: etcd, now: time.Now, listeners: map[chan struct{}]bool{}, complete: make(chan struct{}), again: make(chan struct{}, 1), forgets: make(chan *forgetting)}
	c.state = newState(judge{roots: cfg.Roots, accept: cfg.Accept, now: c.now}.fresh(), newScope(cfg.Node, cfg.Peers))
	if cfg.CacheFile != "" {
		if err := c.recall(); err != nil {
			return nil, errors.Join(err, etcd.Close())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.end, c.ended = cancel, ctx.Done()
	c.done.Go(func() { c.run(ctx) })
	return c, nil
}

// checkServer makes a TLS client ask for its ServerName, besides the address that it
// dials: gRPC puts the address in the name's place.
func checkServer(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	if want, also := cfg.ServerName, cfg.VerifyConnection; want != "" {
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			if err := s.PeerCertificates[0].VerifyHostname(want); err != nil || also == nil {
				return err
			}
			return also(s)
		}
	}
	return cfg
}

// Close ends the client. Channels from Watch are closed.
func (c *Client) Close() error {
	c.end()
	err := c.etcd.Close()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	for ch := range c.listeners {
		close(ch)
	}
	clear(c.listeners)
	if c.cache != nil {
		err = errors.Join(err, c.cache.close())
	}
	if errors.Is(err, context.Canceled) {
		err = nil // to its own close
	}
	return err
}

// SetEndpoints says where members are, besides those that the grid itself names.
func (c *Client) SetEndpoints(endpoints []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Endpoints = endpoints
	c.useEndpoints()
}

// goToMembers goes where the grid says that its members are.
func (c *Client) goToMembers() {
	var endpoints []string
	for _, n := range c.state.snapshot.Nodes {
		if n.Member.IsValid() {
			endpoints = append(endpoints, "https://"+n.Member.String())
		}
	}
	slices.Sort(endpoints)
	if !slices.Equal(endpoints, c.members) {
		c.members = endpoints
		c.useEndpoints()
	}
}

// useEndpoints goes to both: a registry that lies must not lead away from the
// others.
func (c *Client) useEndpoints() {
	all := slices.Concat(c.cfg.Endpoints, c.members)
	slices.Sort(all)
	c.etcd.SetEndpoints(slices.Compact(all)...)
}

// Snapshot gives what is known now.
func (c *Client) Snapshot() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// Recalled gives when the registry had confirmed what this client began with, by this
// node's clock then; zero: it began with nothing.
func (c *Client) Recalled() time.Time { return c.recalled }

// Complete is closed once a snapshot is from the cluster: what is known then is
// all that concerns this node.
func (c *Client) Complete() <-chan struct{} { return c.complete }

// Watch tells of new snapshots, and at once if there is one. The channel holds one
// element: any number of changes that the reader has not taken yet are one. It is
// closed when ctx ends or the client is closed.
func (c *Client) Watch(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		close(changed)
		return changed
	}
	if c.current.Source != SourceNone {
		notify(changed)
	}
	c.listeners[changed] = true
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.listeners[changed] {
			delete(c.listeners, changed)
			close(changed)
		}
	})
	return changed
}

func notify(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// publish makes what the copy has the current snapshot, and keeps it.
func (c *Client) publish() {
	c.mu.Lock()
	before := c.state.snapshot.Problems
	changed := c.state.publish()
	c.goToMembers()
	c.logNew(before)
	first := c.current.Source != SourceCluster
	c.current = c.state.snapshot
	c.current.Revision, c.current.Source, c.current.Confirmed = c.revision, SourceCluster, c.now()
	if first {
		close(c.complete)
	}
	if changed || first {
		for ch := range c.listeners {
			notify(ch)
		}
	}
	c.mu.Unlock()
	c.reportBack()
	if len(c.state.unsaved) > 0 || first || c.now().Sub(c.saved) > cacheEvery {
		c.save()
	}
}

// confirm notes that the registry has nothing newer.
func (c *Client) confirm() {
	c.mu.Lock()
	c.current.Confirmed = c.now()
	first := c.current.Source != SourceCluster
	if first {
		c.current.Source = SourceCluster
		close(c.complete)
		for ch := range c.listeners {
			notify(ch)
		}
	}
	c.mu.Unlock()
	c.reportBack()
	if c.now().Sub(c.saved) > cacheEvery {
		c.save()
	}
}

// lastSerial gives the highest serial that was seen under a key.
func (c *Client) lastSerial(k Key) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.seen[k].Serial
}
