package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf/link"

	"github.com/zosnet/zosnet/test/lab"
)

// pair is two machines with something between them that carries their packets.
type pair struct {
	client, server end
	carrier        *lab.Machine
	cable          string // the carrier's end of the client's
	source         *source
	sink           *sink
}

// end is one of them. Its interface is eth0.
type end struct {
	machine *lab.Machine
	address netip.Addr
}

const endLink = "eth0"

// newPair makes the client ready to send and the server to receive. Cable is the
// carrier's end of the client's.
func newPair(ctx context.Context, client, server end, carrier *lab.Machine, cable string) (*pair, error) {
	p := &pair{client: client, server: server, carrier: carrier, cable: cable}
	// Asking for the server fills every neighbour table on the way.
	if _, err := client.machine.Run(ctx, "ping", "-6", "-c1", "-W5", server.address.String()); err != nil {
		return nil, err
	}
	dmac, err := hop(client, server.address)
	if err != nil {
		return nil, err
	}
	if p.sink, err = newSink(server.machine, endLink); err != nil {
		return nil, err
	}
	if p.source, err = newSource(client.machine, endLink, dmac, client.address, server.address); err != nil {
		return nil, errors.Join(err, p.sink.close())
	}
	return p, nil
}

func (p *pair) close() error { return errors.Join(p.source.close(), p.sink.close()) }

// hop gives the MAC address of the client's next hop.
func hop(client end, to netip.Addr) (net.HardwareAddr, error) {
	h, err := client.machine.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	routes, err := h.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return nil, fmt.Errorf("%s: route to %s: %w", client.machine.Name, to, err)
	}
	if gateway, ok := netip.AddrFromSlice(routes[0].Gw); ok {
		to = gateway
	}
	return client.machine.Neighbour(endLink, to)
}

// packets gives how many UDP packets arrive, in millions a second.
func (p *pair) packets(span time.Duration) (rate float64, err error) {
	taking, err := p.takeFrames()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, taking.Close()) }()
	return p.source.rate(span, p.sink.count)
}

// takeFrames makes the carrier's end of the cable take XDP frames, which an end of a
// veth does where it has NAPI. An XDP program brings it, and unlike GRO, which a veth
// has only when somebody switches it on, it leaves the packets as they are.
func (p *pair) takeFrames() (taking link.Link, err error) {
	on, err := interfaceOf(p.carrier, p.cable)
	if err != nil {
		return nil, err
	}
	err = p.carrier.Do(func() error {
		taking, err = link.AttachXDP(link.XDPOptions{
			Program: p.sink.objects.Take, Interface: on.Index, Flags: link.XDPDriverMode,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: make %s take frames: %w", p.carrier.Name, p.cable, err)
	}
	return taking, nil
}

// stream gives what one TCP connection carries, in Gbit/s.
func (p *pair) stream(ctx context.Context, span time.Duration) (float64, error) {
	address := netip.AddrPortFrom(p.server.address, tcpPort).String()
	listener, err := p.server.machine.Listen("tcp6", address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	type result struct {
		bytes int64
		took  time.Duration
		err   error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		defer func() { _ = conn.Close() }()
		began := time.Now()
		bytes, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 256<<10))
		done <- result{bytes, time.Since(began), err}
	}()
	conn, err := p.client.machine.Dial(ctx, "tcp6", address)
	if err != nil {
		return 0, err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(span)); err != nil {
		return 0, err
	}
	buffer := make([]byte, 256<<10)
	for err == nil {
		_, err = conn.Write(buffer)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, errors.Join(err, conn.Close())
	}
	if err := conn.Close(); err != nil {
		return 0, err
	}
	r := <-done
	return float64(r.bytes) * 8 / r.took.Seconds() / 1e9, r.err
}
