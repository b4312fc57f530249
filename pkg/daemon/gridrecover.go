package daemon

import (
	"context"

	"github.com/zosnet/zosnet/pkg/api"
)

// RecoverRegistry implements the API.
func (d *Daemon) RecoverRegistry(ctx context.Context, r *api.RecoverRegistryRequest) (*api.RegistryRecovery, error) {
	ask := d.control.Lost
	if r.Sure {
		ask = d.control.Recover
	}
	is, err := ask(ctx)
	if err != nil {
		return nil, err
	}
	recovery := &api.RegistryRecovery{Revision: is.Revision, Confirmed: timeText(is.Confirmed), Recovered: r.Sure, Warnings: is.Warnings}
	for _, m := range is.Members {
		standing := "silent"
		switch {
		case m.Here:
			standing = "here"
		case m.Answers:
			standing = "answers"
		}
		recovery.Members = append(recovery.Members, &api.MemberStanding{Node: m.Node, Standing: standing, Revision: m.Revision})
	}
	return recovery, nil
}
