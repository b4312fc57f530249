package daemon

import (
	"context"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/controlplane"
)

// ListMembers implements the API.
func (d *Daemon) ListMembers(ctx context.Context, _ *api.ListMembersRequest) (*api.GridMembers, error) {
	return membersText(d.control.Members(ctx))
}

// PromoteNode implements the API.
func (d *Daemon) PromoteNode(ctx context.Context, r *api.PromoteNodeRequest) (*api.GridMembers, error) {
	return membersText(d.control.Promote(ctx, r.Node))
}

// DemoteNode implements the API.
func (d *Daemon) DemoteNode(ctx context.Context, r *api.DemoteNodeRequest) (*api.GridMembers, error) {
	return membersText(d.control.Demote(ctx, r.Node))
}

func membersText(members *controlplane.Members, err error) (*api.GridMembers, error) {
	if err != nil {
		return nil, err
	}
	list := &api.GridMembers{Warnings: members.Warnings}
	for _, m := range members.List {
		text := &api.GridMember{Node: m.Node, Role: m.Role}
		if m.Address.IsValid() {
			text.Address = m.Address.String()
		}
		list.Members = append(list.Members, text)
	}
	return list, nil
}
