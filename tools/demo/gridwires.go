package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gopacket/gopacket"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// betweenNodes shows who encrypts, with which keys, and what can be seen of tenants'
// talk on every wire between the nodes.
func (d *gridDemo) betweenNodes(ctx context.Context) error {
	var seen overheard
	return d.runAll(ctx, "What is between the nodes", 1, append(d.encryption(ctx),
		check{
			what: "web-1 fetches 20 pages on n2 and n3: words of them to be read", want: "none",
			run: func(ctx context.Context) (_, _ string, err error) {
				if seen, err = d.eavesdrop(ctx); err != nil {
					return "", "", err
				}
				return times(len(seen.readable)), fmt.Sprintf("in %d frames of WireGuard", seen.encrypted), nil
			},
		},
		check{
			what: "frames that are neither WireGuard's nor between neighbours", want: "none",
			run: func(context.Context) (string, string, error) {
				if seen.encrypted == 0 {
					return "", "", errors.New("nothing was overheard")
				}
				return times(len(seen.others)), strings.Join(seen.others, "; "), nil
			},
		},
	))
}

func times(n int) string {
	if n == 0 {
		return "none"
	}
	return strconv.Itoa(n)
}

// said are the words that a request and a page begin with.
var said = [][]byte{[]byte("GET / HTTP"), []byte("I am " + shop)}

func readable(p gopacket.Packet) bool {
	return slices.ContainsFunc(said, func(words []byte) bool { return bytes.Contains(p.Data(), words) })
}

// overheard is what came over wires while tenants talked.
type overheard struct {
	encrypted        int      // frames of WireGuard
	readable, others []string // frames that should not be there
}

// eavesdrop listens to both directions of every cable while pages are fetched, and to
// a workload that gets one: there it must hear the words.
func (d *gridDemo) eavesdrop(ctx context.Context) (heard overheard, err error) {
	web, api, db := d.members[0], d.members[1], d.members[2]
	ports, err := d.wireguardPorts(ctx)
	if err != nil {
		return heard, err
	}
	listening := func(port uint16) bool { return slices.Contains(ports, strconv.Itoa(int(port))) }
	inside, err := probe.OpenWire(api.workload.Machine, "eth0")
	if err != nil {
		return heard, err
	}
	defer inside.Close()
	var wires []*probe.Wire
	for _, at := range []struct {
		machine *lab.Machine
		link    string
	}{
		{web.Machine, "eth0"}, {api.Machine, "eth0"}, {db.Machine, "eth0"},
		{db.NAT, "far"}, {db.NAT, "near"}, {d.grid.Router, "near"},
	} {
		wire, err := probe.OpenWire(at.machine, at.link)
		if err != nil {
			return heard, err
		}
		defer wire.Close()
		wires = append(wires, wire)
	}
	for i := range 20 {
		page, outcome, err := probe.Get(ctx, web.workload.Machine, []*member{api, db}[i%2].at(), d.slow(within))
		if err != nil || outcome != probe.Answered || !strings.HasPrefix(page, string(said[1])) {
			return heard, fmt.Errorf("page %d: %q, %s: %w", i, page, outcome, err)
		}
	}
	if len(inside.Frames(readable)) == 0 {
		return heard, errors.New("not even at a workload the words were heard")
	}
	for _, wire := range wires {
		for _, frame := range wire.Frames(func(gopacket.Packet) bool { return true }) {
			heard.note(frame, probe.KindOf(frame, listening))
		}
	}
	if heard.encrypted < 20*len(said) {
		return heard, fmt.Errorf("only %d frames of WireGuard were seen", heard.encrypted)
	}
	return heard, nil
}

func (o *overheard) note(frame gopacket.Packet, kind probe.Kind) {
	if readable(frame) {
		o.readable = append(o.readable, brief(frame))
	}
	switch kind {
	case probe.WireGuard:
		o.encrypted++
	case probe.Unknown:
		o.others = append(o.others, brief(frame))
	}
}

// brief is a frame as the table shows it.
func brief(frame gopacket.Packet) string {
	var layers []string
	for _, layer := range frame.Layers() {
		layers = append(layers, layer.LayerType().String())
	}
	if network := frame.NetworkLayer(); network != nil {
		layers = append(layers, network.NetworkFlow().String())
	}
	return strings.Join(layers, " ")
}
