package registry

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// ipamState is ipam.State as it is stored.
type ipamState struct{ ipam.State }

func newIPAMState() ipamState {
	return ipamState{ipam.State{Prefixes: map[netip.Prefix]ipam.Lease{}, IDs: map[uint32]ipam.Lease{}}}
}

// add decodes one key below prefixesRoot or networkIDsRoot.
func (st *ipamState) add(under, rest string, raw []byte) error {
	var v leaseValue
	if err := decode(under+rest, raw, &v); err != nil {
		return err
	}
	if under == prefixesRoot {
		p, err := netip.ParsePrefix(rest)
		if err != nil {
			return fmt.Errorf("registry key %s%s: %w", under, rest, err)
		}
		st.Prefixes[p] = v.lease()
		return nil
	}
	id, err := strconv.ParseUint(rest, 10, 32)
	if err != nil {
		return fmt.Errorf("registry key %s%s: %w", under, rest, err)
	}
	st.IDs[uint32(id)] = v.lease()
	return nil
}

// put stores what differs from before: the leases and the counter that a change
// has given out or taken back. before's other leases stay as they are.
func (st *ipamState) put(c *change, before ipam.State) error {
	for p, l := range st.Prefixes {
		if old, known := before.Prefixes[p]; known && old == l {
			continue
		}
		if err := c.put(prefixKey(p), leaseOf(l)); err != nil {
			return err
		}
	}
	for id, l := range st.IDs {
		if old, known := before.IDs[id]; known && old == l {
			continue
		}
		if err := c.put(networkIDKey(id), leaseOf(l)); err != nil {
			return err
		}
	}
	if st.NextService == before.NextService {
		return nil
	}
	return c.put(serviceCounterKey, counterValue{Version: formatVersion, Next: st.NextService})
}
