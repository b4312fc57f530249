package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
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

// follow says what this node is, and keeps its interface as the registry says.
func (p *controlPlane) follow(ctx context.Context, state *grid.State, id *identity, client *gridstore.Client) error {
	select {
	case <-ctx.Done():
		return nil
	case <-client.Complete():
	}
	node := p.node()
	record := gridstore.Record{
		Class: string(node.Underlay), Endpoint: node.Endpoint, ControlPublicKey: id.ControlKey.String(),
		ControlAddress: state.Address, Exit: node.ExitPoint != nil, Program: p.version,
	}
	if endpoint := controlEndpoint(node); endpoint.IsValid() {
		record.ControlEndpoint = endpoint.String()
	}
	if err := client.PutRecord(ctx, record); err != nil {
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
	changed := client.Watch(ctx)
	for {
		if id.Member {
			if err := p.followPeers(ctx, state, id, client); err != nil {
				p.log.Warn("the control interface's peers; what it has stays", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-changed:
			if !open {
				return errors.New("the copy of the grid's registry was closed")
			}
		case <-p.look:
		case <-time.After(gridEvery):
		}
	}
}

// followPeers gives a member's interface the nodes that the CA certified and that
// the roster names, and its guests.
func (p *controlPlane) followPeers(ctx context.Context, state *grid.State, id *identity, client *gridstore.Client) error {
	nodes, err := provenNodes(ctx, state, id.roots, client)
	if err != nil {
		return err
	}
	v := grid.View{Self: state.Node, Control: state.Control, Nodes: nodes, Members: membersOf(state)}
	if self := client.Snapshot().Nodes[state.Node]; self != nil {
		v.Pending = self.Tokens
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
	var list []grid.Node
	for _, a := range roster {
		if i := slices.IndexFunc(state.Members, func(m grid.Node) bool { return m.Name == a.Node }); i >= 0 {
			list = append(list, state.Members[i])
			continue
		}
		pem, err := client.Certificate(ctx, a.Node)
		if err != nil {
			return nil, err
		}
		id, err := roots.Identity(a.Node, pem)
		if err != nil || id.Valid(time.Now()) != nil {
			continue // it is no node, or none any more
		}
		list = append(list, grid.Node{Name: a.Node, Address: id.Address, ControlKey: id.ControlKey})
	}
	return list, nil
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
	if id.Member {
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
