package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/trust"
)

// longestToken bounds how long a join token may be good for.
const longestToken = 7 * 24 * time.Hour

// MakeToken implements the API.
func (d *Daemon) MakeToken(ctx context.Context, r *api.MakeTokenRequest) (*api.JoinToken, error) {
	period := time.Duration(r.Seconds) * time.Second
	if period <= 0 || period > longestToken {
		return nil, invalid(fmt.Sprintf("a join token is good for up to %v", longestToken))
	}
	token, err := d.control.MakeToken(ctx, period)
	if err != nil {
		return nil, err
	}
	// Who joins is let through the lockdown, also if this daemon has just begun.
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("make a join token", "error", err)
	}
	return &api.JoinToken{Id: token.ID(), Token: token.Reveal(), Expires: timeText(token.Expires)}, nil
}

// ListTokens implements the API.
func (d *Daemon) ListTokens(ctx context.Context, _ *api.ListTokensRequest) (*api.JoinTokenList, error) {
	tokens, err := d.control.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(tokens, func(a, b trust.PendingToken) int { return a.Expires.Compare(b.Expires) })
	list := &api.JoinTokenList{}
	for _, t := range tokens {
		text := &api.PendingToken{Id: t.ID, Expires: timeText(t.Expires)}
		if t.Used != nil {
			text.Node, text.Used = t.Used.Node, timeText(t.Used.At)
		} else {
			text.Expired = !time.Now().Before(t.Expires)
		}
		list.Tokens = append(list.Tokens, text)
	}
	return list, nil
}

// RevokeToken implements the API.
func (d *Daemon) RevokeToken(ctx context.Context, r *api.RevokeTokenRequest) (*api.RevokeTokenResponse, error) {
	id := r.Token
	if strings.HasPrefix(id, trust.TokenPrefix) {
		token, err := trust.ParseToken(id)
		if err != nil {
			return nil, invalid(err.Error())
		}
		id = token.ID()
	}
	if err := d.control.RevokeToken(ctx, id); err != nil {
		return nil, err
	}
	return &api.RevokeTokenResponse{}, nil
}
