package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// follow says what this node is, and keeps what it knows of the grid and its
// interface as the registry says.
func (p *controlPlane) follow(ctx context.Context, client *gridstore.Client) error {
	select {
	case <-ctx.Done():
		return nil
	case <-client.Complete():
	}
	changed := client.Watch(ctx)
	for !p.admitted(client) {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return errCopyClosed
			}
		}
	}
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
	for {
		if err := errors.Join(p.learnTrust(ctx, client), p.learnMembers(client), p.followPeers(ctx, client), p.tell(ctx, client)); err != nil && ctx.Err() == nil {
			p.log.Warn("the control network is not as the registry says; what is there stays", "error", err)
		}
		wake(p.place)
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return errCopyClosed
			}
		case <-p.look:
		case <-time.After(gridEvery):
		}
	}
}

var errCopyClosed = errors.New("the copy of the grid's registry was closed")

// admitted tells whether the registry has this node's certificate: the one of a grid
// that is just being made takes anything from anybody before, and then nothing from
// this node until it has.
func (p *controlPlane) admitted(client *gridstore.Client) bool {
	self := client.Snapshot().Nodes[p.current().Node]
	return self != nil && self.Identity != nil
}

// tell publishes what node.yaml says of this node where that is another now, such as
// its endpoint.
func (p *controlPlane) tell(ctx context.Context, client *gridstore.Client) error {
	self := client.Snapshot().Nodes[p.current().Node]
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
func (p *controlPlane) record() gridstore.Record {
	node := p.node()
	record := gridstore.Record{
		Class: string(node.Underlay), Endpoint: node.Endpoint, ControlPublicKey: p.own.Load().ControlKey.String(),
		ControlAddress: p.current().Address, Exit: node.ExitPoint != nil, Program: p.version,
	}
	if endpoint := controlEndpoint(node); endpoint.IsValid() {
		record.ControlEndpoint = endpoint.String()
	}
	return record
}

// learnMembers keeps who the members are: those that the registry names, as far as
// the CA made them members. A registry that names none is not believed.
func (p *controlPlane) learnMembers(client *gridstore.Client) error {
	state := p.current()
	members := provenMembers(client.Snapshot(), time.Now())
	if len(members) == 0 || slices.Equal(members, state.Members) {
		return nil
	}
	next, err := p.home.SetMembers(members)
	if err != nil {
		return err
	}
	p.keep(next)
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

// followPeers gives the interface its peers: to a member, or one that is about to
// be, the nodes that the CA certified and that the roster names, and its guests; to
// another node the members.
func (p *controlPlane) followPeers(ctx context.Context, client *gridstore.Client) error {
	state, id := p.current(), p.own.Load()
	v := grid.View{Self: state.Node, Control: state.Control, Nodes: state.Members, Members: membersOf(state)}
	self := client.Snapshot().Nodes[state.Node]
	if p.isMember(state) || self != nil && len(self.Joining) > 0 {
		nodes, err := provenNodes(ctx, state, id.roots, client)
		if err != nil {
			return err
		}
		v.Nodes = nodes
		if self != nil {
			v.Pending = self.Tokens
		}
		if !slices.Contains(v.Members, state.Node) {
			v.Members = append(v.Members, state.Node)
		}
	}
	return p.putInterface(id, v)
}

// provenNodes gives the nodes of the grid, as their certificates say. The roster
// alone is believed by nobody: it says only who is still there.
func provenNodes(ctx context.Context, state *grid.State, roots *trust.Roots, client *gridstore.Client) ([]grid.Node, error) {
	roster, err := client.Roster(ctx)
	if err != nil {
		return nil, err
	}
	known := client.Snapshot().Nodes
	var list []grid.Node
	for _, a := range roster {
		if i := slices.IndexFunc(state.Members, func(m grid.Node) bool { return m.Name == a.Node }); i >= 0 {
			list = append(list, state.Members[i])
			continue
		}
		id := identityOf(known[a.Node])
		if id == nil || id.ControlKey != a.ControlKey { // it has just been let in
			pem, err := client.Certificate(ctx, a.Node)
			if err != nil {
				return nil, err
			}
			if id, err = roots.Identity(a.Node, pem); err != nil {
				continue // it is no node
			}
		}
		if id.Valid(time.Now()) == nil {
			list = append(list, grid.Node{Name: a.Node, Address: id.Address, ControlKey: id.ControlKey})
		}
	}
	return list, nil
}

func identityOf(n *gridstore.Node) *trust.Identity {
	if n == nil {
		return nil
	}
	return n.Identity
}

// putInterface makes the control interface what it should be.
func (p *controlPlane) putInterface(id *identity, v grid.View) error {
	key, err := p.keys.Load(controlKeyName)
	if err != nil {
		return err
	}
	peers, wrong := grid.Peers(v, time.Now())
	want := control.Interface{
		Node: v.Self, PrivateKey: key, ListenPort: grid.ControlPort, Address: id.Address, Reach: v.Control, Peers: peers,
	}
	if slices.Contains(v.Members, v.Self) {
		want.Services = control.GridPorts
	}
	changes, err := control.Put(p.devices, want)
	for _, change := range changes {
		p.log.Info("changed", "object", "control interface", "detail", change)
	}
	return errors.Join(wrong, err)
}

// controlEndpoint is where others reach this node's control interface; not valid:
// the node is hidden.
func controlEndpoint(node *spec.Node) netip.AddrPort {
	if !node.Endpoint.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(node.Endpoint, grid.ControlPort)
}

// removeControl takes the control interface of a node that is in a grid out of the
// kernel, and tells what it was.
func removeControl(node *spec.Node, log *slog.Logger) ([]string, error) {
	state, err := grid.NewHome(node.StateDir).State()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	devices, err := device.Open(device.Config{RunDir: node.RunDir, Log: log})
	if err != nil {
		return nil, err
	}
	defer devices.Close()
	if err := control.Remove(devices, state.Node); err != nil {
		return nil, err
	}
	return []string{"control interface " + control.Name(state.Node)}, nil
}
