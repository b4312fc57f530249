package gridstore

import (
	"bytes"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// sign writes a payload signed by this node over what is there, under the next
// serial. The same payload again changes nothing. Of what is there only what this node
// signed is kept: it must not sign what others wrote in its place.
func (c *change) sign(key Key, payload value) error {
	if err := checkForm(payload); err != nil {
		return &computeError{fmt.Errorf("registry key %s: %w", key, err)}
	}
	old, err := c.get(key)
	if err != nil {
		return err
	}
	was, err := c.client.signed(key, old)
	if err != nil {
		return fmt.Errorf("registry key %s: replace it: %w", key, err)
	}
	var replaced []byte
	if was == nil {
		old, was = nil, &trust.Value{}
	} else {
		replaced = was.Payload
	}
	text, err := encode(payload, replaced)
	if err != nil {
		return fmt.Errorf("payload of registry key %s: %w", key, err)
	}
	if bytes.Equal(text, was.Payload) {
		return nil
	}
	raw, err := c.client.seal(key, was.Serial, text)
	if err != nil {
		return err
	}
	var next envelope
	if err := decode(raw, &next); err != nil {
		return fmt.Errorf("registry key %s: %w", key, err)
	}
	if raw, err = encode(&next, old); err != nil {
		return fmt.Errorf("registry key %s: %w", key, err)
	}
	c.ops = append(c.ops, clientv3.OpPut(key.String(), string(raw)))
	return nil
}

// signed gives what a key of this node has, if the node has signed it and heard of
// nothing later; nil: it has not. A *VersionError says that a newer zosnet wrote it.
func (c *Client) signed(key Key, raw []byte) (*trust.Value, error) {
	if raw == nil {
		return nil, nil
	}
	_, err := fieldsOf(raw)
	if newer, is := errors.AsType[*VersionError](err); is {
		return nil, newer
	}
	was, err := c.cfg.Key.Open(raw, c.cfg.Node, key.signedAs(), key.path())
	if err == nil && was.Serial >= c.lastSerial(key) {
		return was, nil
	}
	return nil, nil
}

// seal signs a payload under a serial above the last one. Serials are milliseconds
// where possible, so that a key which is gone and comes back goes on above what it
// had; the clock may have been ahead then, so what we have seen counts too.
func (c *Client) seal(key Key, last uint64, payload []byte) ([]byte, error) {
	serial := max(last+1, c.lastSerial(key)+1, uint64(c.now().UnixMilli()))
	return c.cfg.Key.Sign(c.cfg.Node, key.signedAs(), key.path(), serial, payload)
}
