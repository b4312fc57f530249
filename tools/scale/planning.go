package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/daemon"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// plan plans what a snapshot means for this node, whole. n.mu is held.
func (n *node) plan(snap gridstore.Snapshot, heard time.Time) error {
	begin := time.Now()
	in, err := n.input(snap)
	if err != nil {
		return err
	}
	state, err := n.memo.Compute(in)
	if err != nil {
		return err
	}
	if len(state.Ignored) > 0 {
		return fmt.Errorf("what another node says does not fit: %+v", state.Ignored[0])
	}
	n.state = state
	n.took += time.Since(begin)
	n.plans++
	for name, network := range snap.Networks {
		if revision := network.Document.Revision; n.planned[name] != revision {
			n.planned[name] = revision
			n.grid.planned(name, revision, heard, time.Now())
		}
	}
	return nil
}

func (n *node) input(snap gridstore.Snapshot) (plan.Input, error) {
	in := plan.Input{Node: n.spec, MTU: 1500, FlowSets: 1 << 18, FlowShares: 6}
	var own []plan.Part
	for name, network := range snap.Networks {
		document, err := n.grid.texts.decode(network.Document)
		if err != nil {
			return in, err
		}
		id := n.id(name)
		services := n.services[name] // each document of a network has the same
		if services == nil {
			services = map[string]uint32{}
			for i, s := range document.Services {
				services[s.Name] = 8*id + uint32(i)
			}
			n.services[name] = services
		}
		in.Networks = append(in.Networks, plan.Record{Document: document, ID: id, Prefix: n.prefix(id), Services: services})
		in.Attachments = append(in.Attachments, plan.Attachment{Network: name, Service: "web", Name: "web-" + n.name, Kind: plan.WorkloadNetns, Host: workloadHost})
		own = append(own, plan.Part{Network: name, Node: n.name, Prefix: n.prefix(id), PublicKey: n.networkKey(name), Port: n.port(name)})
	}
	daemon.AddGrid(&in, own, snap)
	return in, nil
}

// whole tells whether every network of the node has a peer on each of its other nodes,
// with its workload.
func (n *node) whole(networks int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	remote, peers := 0, 0
	for _, o := range n.state.Overlays {
		peers += len(o.Peers)
	}
	for _, b := range n.state.Bindings {
		if b.Remote {
			remote++
		}
	}
	want := networks * (n.grid.span - 1)
	return len(n.state.Networks) == networks && peers == want && remote == want
}

// texts are decoded documents, each once for all nodes.
type texts struct{ known sync.Map }

type textKey struct {
	network  string
	revision uint64
}

func (t *texts) decode(d *gridstore.Document) (*spec.Network, error) {
	key := textKey{d.Network, d.Revision}
	if known, ok := t.known.Load(key); ok {
		return known.(*spec.Network), nil
	}
	document, _, err := spec.DecodeNetwork(d.File, []byte(d.Text))
	if err != nil {
		return nil, err
	}
	t.known.Store(key, document)
	if d.Revision > 1 {
		t.known.Delete(textKey{d.Network, d.Revision - 2})
	}
	return document, nil
}

// begin has the node plan from now on, at first what it knows.
func (n *node) begin() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.planning = true
	return n.plan(n.client.Snapshot(), time.Now())
}
