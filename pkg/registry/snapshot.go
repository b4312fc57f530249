package registry

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// Snapshot reads everything at one revision.
func (s *Store) Snapshot(ctx context.Context) (Snapshot, error) {
	resp, err := call(ctx, s, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return s.client.Get(ctx, root, clientv3.WithPrefix())
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("read the registry: %w", err)
	}
	snap := Snapshot{Revision: resp.Header.Revision}
	state := newIPAMState()
	for _, kv := range resp.Kvs {
		if err := snap.add(&state, string(kv.Key), kv.Value, kv.ModRevision); err != nil {
			return Snapshot{}, err
		}
	}
	snap.IPAM = state.State
	snap.sort()
	return snap, nil
}

// add decodes one key.
func (snap *Snapshot) add(state *ipamState, key string, raw []byte, revision int64) error {
	kind, rest := cutRoot(key)
	switch kind {
	case networksRoot:
		var v networkValue
		if err := decode(key, raw, &v); err != nil {
			return err
		}
		snap.Networks = append(snap.Networks, v.record(rest, revision))
	case prefixesRoot, networkIDsRoot:
		return state.add(kind, rest, raw)
	case attachmentsRoot:
		var v attachmentValue
		network, name, ok := strings.Cut(rest, "/")
		if !ok {
			return fmt.Errorf("registry key %s: no workload in it", key)
		}
		if err := decode(key, raw, &v); err != nil {
			return err
		}
		snap.Attachments = append(snap.Attachments, v.attachment(network, name))
	case bindingsRoot:
		b, err := decodeBinding(rest, raw)
		if err != nil {
			return err
		}
		snap.Bindings = append(snap.Bindings, b)
	case registrationsRoot:
		return snap.addRegistration(key, rest, raw)
	case blocksRoot:
		return snap.addBlock(key, rest, raw)
	case serviceCounterKey:
		var v counterValue
		if err := decode(key, raw, &v); err != nil {
			return err
		}
		state.NextService = v.Next
	case lockdownTrialKey:
		var v trialValue
		if err := decode(key, raw, &v); err != nil {
			return err
		}
		snap.Lockdown = v.trial()
	default:
		return fmt.Errorf("registry key %s: unknown; it was written by another zosnet, start that one", key)
	}
	return nil
}

// cutRoot splits a key into which of the layout's roots it is under and the
// rest; a key with a name of its own has no rest.
func cutRoot(key string) (kind, rest string) {
	for _, r := range []string{networksRoot, prefixesRoot, networkIDsRoot, attachmentsRoot, bindingsRoot, registrationsRoot, blocksRoot} {
		if rest, ok := strings.CutPrefix(key, r); ok {
			return r, rest
		}
	}
	return key, ""
}

// decodeBinding reads a value under bindingsRoot; path is NETWORK/WORKLOAD/ADDRESS.
func decodeBinding(path string, raw []byte) (Binding, error) {
	key := bindingsRoot + path
	parts := strings.Split(path, "/")
	if len(parts) != 3 {
		return Binding{}, fmt.Errorf("registry key %s: want a network, a workload and an address in it", key)
	}
	address, err := netip.ParseAddr(parts[2])
	if err != nil {
		return Binding{}, fmt.Errorf("registry key %s: %w", key, err)
	}
	var v bindingValue
	if err := decode(key, raw, &v); err != nil {
		return Binding{}, err
	}
	return Binding{Network: parts[0], Workload: parts[1], Address: address, MAC: v.MAC, Learned: v.Learned}, nil
}

// sort gives the order that Snapshot promises. etcd's differs: "a-b/" comes
// before "a/".
func (snap *Snapshot) sort() {
	slices.SortFunc(snap.Networks, func(a, b NetworkRecord) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(snap.Registrations, func(a, b ipam.Registration) int { return a.Prefix.Compare(b.Prefix) })
	slices.SortFunc(snap.Blocks, func(a, b Block) int { return a.Block.Compare(b.Block) })
	slices.SortFunc(snap.Attachments, func(a, b Attachment) int {
		return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.Name, b.Name))
	})
	slices.SortFunc(snap.Bindings, func(a, b Binding) int {
		return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.Workload, b.Workload), a.Address.Compare(b.Address))
	})
}
