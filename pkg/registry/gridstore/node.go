package gridstore

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// LiveTTL is how long a node counts as live after its daemon was last heard.
const LiveTTL = 30 * time.Second

func (c *Client) self(kind Kind) Key { return Key{Kind: kind, Node: c.cfg.Node} }

// PutRecord says what this node is.
func (c *Client) PutRecord(ctx context.Context, r Record) error {
	return c.change(ctx, "publish this node's record", func(ch *change) error {
		return ch.sign(c.self(KindRecord), &r)
	})
}

// PutCertificate publishes this node's certificates, PEM, the newest first. What
// it signed with an older key stays good as long as that one is among them.
func (c *Client) PutCertificate(ctx context.Context, pem []byte) error {
	if _, err := c.cfg.Roots.Identity(c.cfg.Node, pem); err != nil {
		return err
	}
	return c.change(ctx, "publish this node's certificate", func(ch *change) error {
		return ch.put(c.self(KindCertificate), &certificate{PEM: string(pem)})
	})
}

// PutPart says how this node takes part in a network.
func (c *Client) PutPart(ctx context.Context, network string, p Part) error {
	if err := checkName("network", network); err != nil {
		return err
	}
	return c.change(ctx, fmt.Sprintf("publish this node's part in network %q", network), func(ch *change) error {
		return ch.sign(Key{Kind: KindPart, Node: c.cfg.Node, Network: network}, &p)
	})
}

// DeletePart takes this node out of a network: its part, attachments, bindings,
// and the names that its workloads had.
func (c *Client) DeletePart(ctx context.Context, network string) error {
	if err := checkName("network", network); err != nil {
		return err
	}
	return c.change(ctx, fmt.Sprintf("take this node out of network %q", network), func(ch *change) error {
		attached, err := ch.list(below(c.cfg.Node, KindAttachment, network))
		if err != nil {
			return err
		}
		for _, kv := range attached {
			k, err := ParseKey(string(kv.Key))
			if err != nil {
				return err
			}
			if err := ch.unclaim(network, k.Workload); err != nil {
				return err
			}
		}
		ch.delete(Key{Kind: KindPart, Node: c.cfg.Node, Network: network})
		ch.deleteAll(below(c.cfg.Node, KindAttachment, network))
		ch.deleteAll(below(c.cfg.Node, KindBinding, network))
		return nil
	})
}

// identity is this node's by its newest certificate.
func (c *Client) identity() *trust.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id := c.state.identities[c.cfg.Node]; id != nil {
		return id
	}
	return c.cfg.Identity
}

// own proves a value of this node that was read from the registry, by its own
// certificate, and that it is not older than what the copy has.
func (c *Client) own(key string, raw []byte) (Key, value, error) {
	k, err := ParseKey(key)
	if err != nil {
		return k, nil, err
	}
	proven, err := c.identity().Open(raw, k.signedAs(), k.path(), c.now())
	if err != nil {
		return k, nil, err
	}
	if last := c.lastSerial(k); proven.Serial < last {
		return k, nil, fmt.Errorf("registry key %s: serial %d after %d: %w", key, proven.Serial, last, trust.ErrOlder)
	}
	v, err := decodeAs(k, proven.Payload)
	return k, v, err
}

// KeepLive says that this node is live until ctx ends, over every loss of the
// registry. When it ends, others hear at once; when the node dies, after ttl,
// usually LiveTTL.
func (c *Client) KeepLive(ctx context.Context, ttl time.Duration) {
	since := c.now().UTC()
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		if err := c.live(ctx, ttl, since); err != nil && ctx.Err() == nil {
			c.cfg.Log.Debug("this node's lease in the grid's registry is lost", "error", err)
		}
		if time.Since(began) > longestPause {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// live holds one lease for as long as it can be held.
func (c *Client) live(ctx context.Context, ttl time.Duration, since time.Time) error {
	asking, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	lease, err := c.etcd.Grant(asking, int64(ttl.Seconds()))
	if err != nil {
		return err
	}
	defer func() { // also when ctx has ended
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = c.etcd.Revoke(ending, lease.ID) // else it expires
	}()
	raw, err := encode(&live{Since: since}, nil)
	if err != nil {
		return err
	}
	key := c.self(KindLive).String()
	if _, err := c.etcd.Put(asking, key, string(raw), clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	holding, cancel := context.WithCancel(ctx)
	defer cancel()
	answers, err := c.etcd.KeepAlive(holding, lease.ID)
	if err != nil {
		return err
	}
	for range answers { // closed when the lease is gone
	}
	return ctx.Err()
}
