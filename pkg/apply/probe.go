package apply

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
)

const (
	// probeTime is how long the kernel may take to find that nobody answers: three
	// solicitations a second apart (RFC 4861, 10) and what a busy machine adds.
	probeTime = 8 * time.Second
	probePoll = 100 * time.Millisecond
)

// Probed is what a probe of an address came to.
type Probed int

// What a probe may come to.
const (
	ProbeUnclear  Probed = iota // the kernel has not made up its mind, or has forgotten
	ProbeAnswered               // it is reachable
	ProbeFailed                 // nobody answered
)

// neighbour is an entry of the kernel's table.
type neighbour struct {
	link    int
	address netip.Addr
}

// Probe asks for addresses on the bridges of their networks, all at once, by the
// kernel's neighbour unreachability detection (RFC 4861, 7.3), and gives what came of
// it in their order. It takes a few seconds where somebody does not answer.
func Probe(ctx context.Context, bridges map[uint32]string, list []plan.Binding) ([]Probed, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	asked := make([]neighbour, len(list))
	for i, b := range list {
		link, err := h.LinkByName(bridges[b.NetworkID])
		if err != nil {
			return nil, fmt.Errorf("probe %s on %s: %w", b.Address, bridges[b.NetworkID], err)
		}
		asked[i] = neighbour{link.Attrs().Index, b.Address}
		err = h.NeighSet(&netlink.Neigh{LinkIndex: asked[i].link, Family: netlink.FAMILY_V6, State: unix.NUD_PROBE,
			IP: b.Address.AsSlice(), HardwareAddr: b.MAC[:]})
		if err != nil {
			return nil, fmt.Errorf("probe %s on %s: %w", b.Address, bridges[b.NetworkID], err)
		}
	}
	for deadline := time.Now().Add(probeTime); ; {
		results, decided, err := readProbes(h, asked)
		if err != nil || decided || time.Now().After(deadline) {
			return results, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(probePoll):
		}
	}
}

// readProbes gives how each probe stands, and whether all have ended.
func readProbes(h *netlink.Handle, asked []neighbour) (results []Probed, decided bool, err error) {
	list, err := dump(func() ([]netlink.Neigh, error) { return h.NeighList(0, netlink.FAMILY_V6) })
	if err != nil {
		return nil, false, fmt.Errorf("list neighbours: %w", err)
	}
	states := map[neighbour]int{}
	for _, n := range list {
		address, _ := netip.AddrFromSlice(n.IP)
		states[neighbour{n.LinkIndex, address}] = n.State
	}
	results, decided = make([]Probed, len(asked)), true
	for i, a := range asked {
		switch states[a] {
		case unix.NUD_REACHABLE:
			results[i] = ProbeAnswered
		case unix.NUD_FAILED:
			results[i] = ProbeFailed
		case unix.NUD_PROBE, unix.NUD_DELAY, unix.NUD_INCOMPLETE:
			decided = false
		}
	}
	return results, decided, nil
}

// Release takes learned addresses from their workloads, in the datapath. Whoever
// takes one again goes through duplicate address detection as everybody does. The
// State applied last must not have them any more, or they come back.
func (a *Applier) Release(list []plan.Binding) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.config.Datapath.Maps()
	bound, err := m.AllBindings()
	if err != nil {
		return err
	}
	p := &pass{Applier: a, failed: map[string]bool{}, touched: map[uint32]bool{}}
	for _, b := range list {
		key := bpf.BindingOf(b.Address, b.NetworkID)
		have, exists := bound[key]
		if !exists || have.Learned == 0 || have.Network != b.NetworkID || have.Workload != b.Workload {
			continue
		}
		if p.failIf("address "+b.Address.String(), m.DeleteBinding(key)) {
			continue
		}
		delete(bound, key)
		p.touch(b.NetworkID)
	}
	p.failIf("ports", countLearned(m, bound))
	p.judgeTouched()
	return errors.Join(p.errs...)
}

// countLearned lowers the ports' numbers of learned addresses to what is bound. The
// datapath counts up at the same time: an address that it learns between the reading
// and the writing is not counted, until the next time.
func countLearned(m *bpf.Maps, bound map[bpf.BindingKey]bpf.Binding) error {
	counts := map[uint32]uint32{}
	for _, b := range bound {
		if b.Learned != 0 {
			counts[b.Ifindex]++
		}
	}
	ports, err := m.AllPorts()
	if err != nil {
		return err
	}
	for index, port := range ports {
		if port.Learned <= counts[index] {
			continue
		}
		port.Learned = counts[index]
		if err := m.Ports.Put(&index, &port); err != nil {
			return fmt.Errorf("write port %d: %w", index, err)
		}
	}
	return nil
}
