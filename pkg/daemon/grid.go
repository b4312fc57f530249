package daemon

import (
	"context"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/controlplane"
	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/trust"
)

// enterPatience is how long whoever asked waits for a part in the grid to come up.
const enterPatience = 90 * time.Second

// InitGrid implements the API.
func (d *Daemon) InitGrid(ctx context.Context, _ *api.InitGridRequest) (*api.GridNode, error) {
	state, err := d.control.Found()
	if err != nil {
		return nil, err
	}
	return d.enterGrid(ctx, state)
}

// JoinGrid implements the API.
func (d *Daemon) JoinGrid(ctx context.Context, r *api.JoinGridRequest) (*api.GridNode, error) {
	token, err := trust.ParseToken(r.Token)
	if err != nil {
		return nil, invalid(err.Error())
	}
	state, err := d.control.Join(ctx, token)
	if err != nil {
		return nil, err
	}
	return d.enterGrid(ctx, state)
}

// enterGrid waits until this node's part in the grid is up.
func (d *Daemon) enterGrid(ctx context.Context, state *grid.State) (*api.GridNode, error) {
	// The lockdown lets the control interface's packets in.
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("enter the grid", "error", err)
	}
	ctx, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	if err := d.control.Wait(ctx); err != nil {
		return nil, err
	}
	d.log.Info("in the grid", "control", state.Control, "address", state.Address)
	return gridNode(state), nil
}

func gridNode(s *grid.State) *api.GridNode {
	m := &api.GridNode{Node: s.Node, Control: s.Control.String(), Address: s.Address.String(), Interface: control.Name(s.Node)}
	for _, member := range s.Members {
		m.Members = append(m.Members, member.Name)
	}
	return m
}

// ShowGrid implements the API.
func (d *Daemon) ShowGrid(context.Context, *api.ShowGridRequest) (*api.GridNode, error) {
	s := d.control.State()
	if s == nil {
		return nil, controlplane.ErrNoGrid
	}
	return gridNode(s), nil
}
