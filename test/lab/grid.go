package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
)

// NodeConfig says which node of a Grid to make. The first node that has an address of
// the Internet is where a grid can begin.
type NodeConfig struct {
	Name     string       // of the machine and of the node
	NAT      bool         // behind a router of its own that translates addresses; IPv4 only
	Unlisted bool         // node.yaml names no endpoint, though the node has one
	Prefix   netip.Prefix // its allocation, routed to it unless it is behind NAT; zero: none
	Document string       // more of node.yaml
}

// hidden says whether others know no way to the node.
func (c NodeConfig) hidden() bool { return c.NAT || c.Unlisted }

// GridConfig says which Grid to make.
type GridConfig struct {
	Name   string // as of a Lab
	Zosnet string // path of the zosnet binary
	Nodes  []NodeConfig
	Laptop bool // a person's device, behind a router with NAT of its own
	Keep   bool // outlives this process; Remove ends it

	// WireGuard is the path of wireguard-go, for the laptop where the kernel has no
	// WireGuard; empty: it has.
	WireGuard string

	// OwnNames: no other lab has nodes or networks of these names, so it need not
	// wait for the others.
	OwnNames bool
}

// Grid is several nodes on one Internet, each with a daemon that knows of no other
// node yet.
type Grid struct {
	site
	Outside *Machine // a stranger, at OutsideIPv4 and OutsideIPv6
	Laptop  *Machine // nil unless asked for
	Router  *Machine // the Internet's
	Nodes   []*Node

	segment *Machine // the switch between it and the nodes

	config GridConfig
}

// Node is one node of a Grid.
type Node struct {
	*Daemon
	Address netip.Addr // of its uplink, IPv4
	NAT     *Machine   // the router that it is behind, or nil
}

const (
	laptop     = "laptop"
	laptopSite = 90 // its place among the sites, which for nodes begin with 1
)

// publicIPv4 is the address of a node that has one of the Internet.
func publicIPv4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}) }

func publicIPv6(i int) netip.Addr {
	a := RouterIPv6.As16()
	a[15] = byte(100 + i)
	return netip.AddrFrom16(a)
}

// homeIPv4 is an address behind the NAT of a site: its router's or its machine's.
func homeIPv4(i, host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i), byte(host)}) }

// NewGrid makes the machines, and waits until they can send. For the rest it is as
// New.
func NewGrid(ctx context.Context, config GridConfig) (*Grid, error) {
	g := &Grid{site: site{name: config.Name, keep: config.Keep, zosnet: config.Zosnet}, config: config}
	if err := g.open(ctx, g.roles(), g.wire); err != nil {
		return nil, err
	}
	return g, nil
}

func home(of string) string { return "home-" + of }

func (g *Grid) roles() []string {
	roles := []string{"outside", "router", "segment"}
	for _, n := range g.config.Nodes {
		roles = append(roles, n.Name)
		if n.NAT {
			roles = append(roles, home(n.Name))
		}
	}
	if g.config.Laptop {
		roles = append(roles, laptop, home(laptop))
	}
	return roles
}

func (g *Grid) wire(ctx context.Context) error {
	machines := map[string]*Machine{}
	for _, role := range g.roles() {
		m, err := g.boot(role)
		if err != nil {
			return err
		}
		machines[role] = m
	}
	g.Outside, g.Router, g.Laptop, g.segment = machines["outside"], machines["router"], machines[laptop], machines["segment"]
	if err := g.connect(machines); err != nil {
		return err
	}
	if err := g.route(machines); err != nil {
		return err
	}
	for i, n := range g.config.Nodes {
		node, err := g.place(i+1, n, machines)
		if err != nil {
			return err
		}
		g.Nodes = append(g.Nodes, node)
	}
	if g.Laptop != nil {
		if err := g.equip(); err != nil {
			return err
		}
	}
	return settle(ctx, machines)
}

// connect lays the cables: every machine of the Internet to one switch, and what is
// behind NAT to its router.
func (g *Grid) connect(machines map[string]*Machine) error {
	ports := []port{{g.Router, "near", prefixes(RouterIPv4, RouterIPv6)}}
	behind := func(i int, name string) error {
		router := machines[home(name)]
		ports = append(ports, port{router, "far", []netip.Prefix{netip.PrefixFrom(publicIPv4(i), 24)}})
		return connect(nil, []port{
			{router, "near", []netip.Prefix{netip.PrefixFrom(homeIPv4(i, 1), 24)}},
			{machines[name], "eth0", []netip.Prefix{netip.PrefixFrom(homeIPv4(i, 2), 24)}},
		})
	}
	for i, n := range g.config.Nodes {
		if !n.NAT {
			ports = append(ports, port{machines[n.Name], "eth0", prefixes(publicIPv4(i+1), publicIPv6(i+1))})
		} else if err := behind(i+1, n.Name); err != nil {
			return err
		}
	}
	if g.Laptop != nil {
		if err := behind(laptopSite, laptop); err != nil {
			return err
		}
	}
	if err := connect(machines["segment"], ports); err != nil {
		return err
	}
	return connect(nil, []port{
		{g.Router, "far", prefixes(farRouterIPv4, farRouterIPv6)},
		{g.Outside, "eth0", prefixes(OutsideIPv4, OutsideIPv6)},
	})
}

// route points everybody at the Internet, and what is routed to a node at that node.
func (g *Grid) route(machines map[string]*Machine) error {
	if err := g.Router.forward(); err != nil {
		return err
	}
	if err := g.Outside.defaultRoutes(farRouterIPv4, farRouterIPv6); err != nil {
		return err
	}
	for i, n := range g.config.Nodes {
		if n.NAT {
			if err := masquerade(machines[home(n.Name)], machines[n.Name], i+1); err != nil {
				return err
			}
			continue
		}
		if err := machines[n.Name].defaultRoutes(RouterIPv4, RouterIPv6); err != nil {
			return err
		}
		if n.Prefix.IsValid() {
			if err := g.Router.Route(n.Prefix, publicIPv6(i+1)); err != nil {
				return err
			}
		}
	}
	if g.Laptop != nil {
		return masquerade(machines[home(laptop)], g.Laptop, laptopSite)
	}
	return nil
}

// place writes a node's document.
func (g *Grid) place(i int, c NodeConfig, machines map[string]*Machine) (*Node, error) {
	n := &Node{Address: publicIPv4(i), NAT: machines[home(c.Name)]}
	text := fmt.Sprintf("node: %s\n%s", c.Name, c.Document)
	if c.NAT {
		n.Address = homeIPv4(i, 2)
	}
	if !c.hidden() {
		text += fmt.Sprintf("endpoint: %v\n", n.Address)
	}
	if c.Prefix.IsValid() {
		text += fmt.Sprintf("prefixes: [%v]\n", c.Prefix)
	}
	m, dir := machines[c.Name], g.Path(c.Name)
	m.env = socketOf(dir)
	if err := g.remember(func(m *manifest) { m.Nodes = append(m.Nodes, placed{Machine: c.Name, Dir: dir}) }); err != nil {
		return nil, err
	}
	var err error
	n.Daemon, err = g.newDaemon(m, dir, text)
	return n, err
}

// Plug puts the cable of a node, or of the router that it is behind, in or takes it
// out.
func (g *Grid) Plug(ctx context.Context, n *Node, in bool) error {
	state := map[bool]string{true: "up", false: "down"}[in]
	port := fmt.Sprintf("port%d", 1+slices.Index(g.Nodes, n)) // after the Internet's router
	_, err := g.segment.Run(ctx, "ip", "link", "set", port, state)
	return err
}

// Start starts the daemons of all nodes and waits until they are ready. Unless its
// names are its own, the grid waits for other labs to end, within ctx.
func (g *Grid) Start(ctx context.Context) error {
	for _, n := range g.Nodes {
		if err := g.launch(ctx, n); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes {
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StartNode starts the daemon of one node, as Start does.
func (g *Grid) StartNode(ctx context.Context, n *Node) error {
	if err := g.launch(ctx, n); err != nil {
		return err
	}
	return n.WaitReady(ctx)
}

func (g *Grid) launch(ctx context.Context, n *Node) error {
	if !g.config.OwnNames {
		if err := g.takeTurn(ctx); err != nil {
			return err
		}
	}
	return n.Launch()
}
