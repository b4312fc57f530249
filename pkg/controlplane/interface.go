package controlplane

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// firstInterface makes the interface of what is known before the registry is there:
// the members. One that a member has already stays: taking the other nodes away
// would cut them off until the registry names them again.
func (p *Plane) firstInterface(id *identity, state *grid.State) error {
	is, err := p.devices.Read(control.Name(state.Node))
	if err == nil && p.isMember(state) && is.PublicKey == wireguard.PublicKey(id.ControlKey) {
		return nil
	}
	return p.putInterface(id, grid.View{Self: state.Node, Control: state.Control, Nodes: state.Members, Members: membersOf(state)})
}

// putInterface makes the control interface what it should be.
func (p *Plane) putInterface(id *identity, v grid.View) error {
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
	if err == nil {
		p.note(func() { p.peers = keysOf(peers) })
	}
	return errors.Join(wrong, err)
}

func keysOf(peers []grid.Peer) map[trust.ControlKey]bool {
	keys := make(map[trust.ControlKey]bool, len(peers))
	for _, peer := range peers {
		keys[peer.PublicKey] = true
	}
	return keys
}

// controlEndpoint is where others reach this node's control interface; not valid:
// the node is hidden.
func controlEndpoint(node *spec.Node) netip.AddrPort {
	if !node.Endpoint.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(node.Endpoint, grid.ControlPort)
}

// Remove takes the control interface of a node that is in a grid out of the
// kernel, and tells what it was.
func Remove(node *spec.Node, log *slog.Logger) ([]string, error) {
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
