package controlplane

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// lookEvery is how often peers are looked at although nothing was heard: tokens
// expire.
const lookEvery = 30 * time.Second

// follow says what this node is, and keeps what it knows of the grid and its
// interface as the registry says.
func (p *Plane) follow(ctx context.Context, client *gridstore.Client) error {
	select {
	case <-ctx.Done():
		return nil
	case <-client.Complete():
	}
	changed := client.Watch(ctx)
	if err := client.PutRecord(ctx, p.record()); err != nil {
		return err
	}
	p.mu.Lock()
	p.failed = nil
	select {
	case <-p.up:
	default:
		close(p.up)
	}
	p.mu.Unlock()
	spoken := map[netip.Addr]time.Time{}
	for {
		if err := errors.Join(p.learnTrust(ctx, client), p.learnMembers(client), p.followPeers(client), p.tell(ctx, client)); err != nil && ctx.Err() == nil {
			p.log.Warn("the control network is not as the registry says; what is there stays", "error", err)
		}
		p.speakToSilent(client, spoken)
		wake(p.place)
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return errCopyClosed
			}
		case <-p.look:
		case <-time.After(lookEvery):
		}
	}
}

var errCopyClosed = errors.New("the copy of the grid's registry was closed")

// tell publishes what node.yaml says of this node where that is another now, such as
// its endpoint.
func (p *Plane) tell(ctx context.Context, client *gridstore.Client) error {
	self := client.Snapshot().Nodes[p.State().Node]
	if self == nil || self.Record == nil {
		return nil // it is on its way
	}
	is, want := *self.Record, p.record()
	if is.Class == want.Class && is.Endpoint == want.Endpoint && is.ControlEndpoint == want.ControlEndpoint && is.Exit == want.Exit {
		return nil
	}
	is.Class, is.Endpoint, is.ControlEndpoint, is.Exit = want.Class, want.Endpoint, want.ControlEndpoint, want.Exit
	return client.PutRecord(ctx, is)
}

// record is what this node says of itself.
func (p *Plane) record() gridstore.Record {
	node := p.node()
	record := gridstore.Record{
		Class: string(node.Underlay), Endpoint: node.Endpoint, ControlPublicKey: p.own.Load().ControlKey.String(),
		ControlAddress: p.State().Address, Exit: node.ExitPoint != nil, Program: p.version,
	}
	if endpoint := controlEndpoint(node); endpoint.IsValid() {
		record.ControlEndpoint = endpoint.String()
	}
	return record
}

// learnMembers keeps who the members are: those that the registry names, as far as
// the CA made them members. A registry that names none is not believed.
func (p *Plane) learnMembers(client *gridstore.Client) error {
	state := p.State()
	members := provenMembers(client.Snapshot(), time.Now())
	if len(members) == 0 || slices.Equal(members, state.Members) {
		return nil
	}
	next, err := p.change(func() (*grid.State, error) { return p.home.SetMembers(members) })
	if err != nil {
		return err
	}
	client.SetEndpoints(registryEndpoints(members))
	p.log.Info("the members of the grid's registry", "members", membersOf(next))
	return nil
}

// provenMembers gives the members, by name, as their own certificates and records
// say where they are.
func provenMembers(snap gridstore.Snapshot, now time.Time) (list []grid.Node) {
	for _, name := range slices.Sorted(maps.Keys(snap.Nodes)) {
		n := snap.Nodes[name]
		if !n.Member.IsValid() || n.Identity == nil || !n.Identity.Member || n.Identity.Valid(now) != nil || n.Record == nil {
			continue
		}
		m := grid.Node{Name: name, Address: n.Identity.Address, ControlKey: n.Identity.ControlKey}
		if endpoint, err := netip.ParseAddrPort(n.Record.ControlEndpoint); err == nil {
			m.Endpoint = endpoint
		}
		list = append(list, m)
	}
	return list
}
