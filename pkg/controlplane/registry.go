package controlplane

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// Ports of the grid's registry on control addresses.
const (
	clientPort = 2379
	peerPort   = 2380
)

// serve brings everything up and keeps it until something fails.
func (p *Plane) serve(ctx context.Context) error {
	state := p.State()
	id, err := p.readIdentity(state.Node)
	if err != nil {
		return err
	}
	if foreign(p.node()) != state.Foreign {
		return errOtherRegistry(state.Foreign)
	}
	unreachable := p.firstInterface(id, state)
	g, ctx := errgroup.WithContext(ctx)
	if unreachable == nil && !state.Foreign {
		g.Go(func() error { p.serveRegistry(ctx); return nil })
	}
	g.Go(func() error {
		if state.Founding && !state.Foreign { // a registry that is not protected yet answers anybody, and then nobody
			select {
			case <-ctx.Done():
				return nil
			case <-p.founded:
			}
		}
		return p.useRegistry(ctx, unreachable)
	})
	return g.Wait()
}

// useRegistry opens this node's copy of the registry, and keeps this node and the
// grid to each other's word. Where the grid is unreachable there is the copy alone.
func (p *Plane) useRegistry(ctx context.Context, unreachable error) error {
	cfg, err := p.clientConfig(p.State(), p.own.Load())
	if err != nil {
		return errors.Join(unreachable, err)
	}
	accept := p.node().Accept
	if cfg.Accept, err = trust.ParseAccept(accept); err != nil {
		return err
	}
	client, err := gridstore.Open(cfg)
	if err != nil {
		return errors.Join(unreachable, err)
	}
	defer func() { _ = client.Close() }()
	foreign := p.State().Foreign
	if foreign && unreachable == nil {
		if err := p.found(ctx, client.Root()); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.client = client // what it kept of an earlier run is there at once, whatever becomes of the rest
	p.mu.Unlock()
	if !slices.Equal(accept, p.node().Accept) { // reread meanwhile
		if err := p.reaccept(); err != nil {
			return err
		}
	}
	wake(p.opened)
	if unreachable != nil {
		return unreachable
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { client.KeepLive(ctx, gridstore.LiveTTL); return nil })
	g.Go(func() error { return p.follow(ctx, client) })
	g.Go(func() error { p.renewCertificate(ctx); return nil })
	if foreign {
		g.Go(func() error {
			p.sit(&seat{root: client.Root()})
			defer p.sit(nil)
			return p.invite(ctx, client.Root())
		})
	}
	return g.Wait()
}

// reaccept has the registry's copy judge by what node.yaml accepts now.
func (p *Plane) reaccept() error {
	accept, err := trust.ParseAccept(p.node().Accept)
	if err != nil {
		return err
	}
	if client := p.Registry(); client != nil {
		client.SetAccept(accept)
	}
	wake(p.accepted)
	return nil
}

// clientConfig says how this node speaks to the grid's registry.
func (p *Plane) clientConfig(state *grid.State, id *identity) (gridstore.Config, error) {
	c := gridstore.Config{
		Node: state.Node, Key: id.key, Identity: id.Identity, Roots: id.roots, CacheFile: p.home.CacheFile(), Log: p.log,
		Endpoints: registryEndpoints(state.Members), TLS: p.registryTLS(),
	}
	if state.Foreign {
		is := p.node().Registry
		config, err := foreignTLS(is, state.Node)
		c.Endpoints, c.TLS = is.Endpoints, config
		return c, err
	}
	return c, nil
}

// registryEndpoints gives where members serve the registry's clients.
func registryEndpoints(members []grid.Node) (list []string) {
	for _, m := range members {
		list = append(list, "https://"+netip.AddrPortFrom(m.Address, clientPort).String())
	}
	return list
}
