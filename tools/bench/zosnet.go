package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
)

// document is a network of ten rules, of which the last lets the client call the
// server.
func document() string {
	var b strings.Builder
	b.WriteString("network: bench\nnodes: [n1]\ndefault: {inside: deny, inbound: deny, outbound: deny}\n")
	b.WriteString("services: {client: {}, server: {}}\nrules:\n")
	for i := range 9 {
		fmt.Fprintf(&b, "- deny: {from: client, to: server, ports: [udp/%d]}\n", otherPort+i)
	}
	fmt.Fprintf(&b, "- allow: {from: client, to: server, ports: [udp/%d, tcp/%d, icmpv6/any]}\n", udpPort, tcpPort)
	return b.String()
}

// zosnet is a lab whose node carries the network.
func (b *bench) zosnet(ctx context.Context, path string) (*lab.Lab, *lab.Daemon, *pair, error) {
	l, err := lab.New(ctx, lab.Config{Name: "bench", Zosnet: path})
	if err != nil {
		return nil, nil, nil, err
	}
	b.after(l.Close)
	d, err := l.StartDaemon(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := d.Apply(ctx, document()); err != nil {
		return nil, nil, nil, err
	}
	client, err := d.Attach(ctx, "bench", "client", "client-1")
	if err != nil {
		return nil, nil, nil, err
	}
	server, err := d.Attach(ctx, "bench", "server", "server-1")
	if err != nil {
		return nil, nil, nil, err
	}
	p, err := newPair(ctx, end{client.Machine, client.Address}, end{server.Machine, server.Address}, l.Node, client.Interface)
	if err != nil {
		return nil, nil, nil, err
	}
	b.after(p.close)
	return l, d, p, nil
}
