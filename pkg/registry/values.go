package registry

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/spec"
)

// The stored forms. What the key says is not repeated in the value.

type networkValue struct {
	Version  int               `json:"version"`
	ID       uint32            `json:"id"`
	Prefix   netip.Prefix      `json:"prefix"`
	File     string            `json:"file"`
	Document string            `json:"document"`
	Services map[string]uint32 `json:"services"`
	Access   map[string]uint32 `json:"access,omitempty"`
	Applied  time.Time         `json:"applied"`
}

func (r NetworkRecord) value() networkValue {
	return networkValue{
		Version: formatVersion, ID: r.ID, Prefix: r.Prefix, File: r.File,
		Document: string(r.Document), Services: r.Services, Access: r.Access, Applied: r.Applied,
	}
}

func (v networkValue) record(name string, revision int64) NetworkRecord {
	return NetworkRecord{
		Name: name, ID: v.ID, Prefix: v.Prefix, File: v.File, Document: []byte(v.Document),
		Services: v.Services, Access: v.Access, Applied: v.Applied, Revision: revision,
	}
}

// leaseValue is a /64 or a network id. Node is set for a /64 only.
type leaseValue struct {
	Version int       `json:"version"`
	Network string    `json:"network"`
	Node    string    `json:"node,omitempty"`
	Until   time.Time `json:"restsUntil,omitzero"`
}

func leaseOf(l ipam.Lease) leaseValue {
	return leaseValue{Version: formatVersion, Network: l.Network, Node: l.Node, Until: l.Until}
}

func (v leaseValue) lease() ipam.Lease {
	return ipam.Lease{Network: v.Network, Node: v.Node, Until: v.Until}
}

type registrationValue struct {
	Version    int       `json:"version"`
	Source     string    `json:"source,omitempty"`
	Contact    string    `json:"contact,omitempty"`
	Registered time.Time `json:"registered"`
}

type blockValue struct {
	Version   int    `json:"version"`
	Holder    string `json:"holder"`
	GivenBack bool   `json:"givenBack,omitempty"`
}

type counterValue struct {
	Version int    `json:"version"`
	Next    uint32 `json:"next"`
}

type attachmentValue struct {
	Version   int            `json:"version"`
	Service   string         `json:"service"`
	Kind      AttachmentKind `json:"kind"`
	NetnsPath string         `json:"netnsPath,omitempty"`
	TapName   string         `json:"tapName,omitempty"`
	Host      uint32         `json:"host"`
	Created   time.Time      `json:"created"`
}

func (a Attachment) value() attachmentValue {
	return attachmentValue{
		Version: formatVersion, Service: a.Service, Kind: a.Kind, NetnsPath: a.NetnsPath,
		TapName: a.TapName, Host: a.Host, Created: a.Created,
	}
}

func (v attachmentValue) attachment(network, name string) Attachment {
	return Attachment{
		Network: network, Service: v.Service, Name: name, Kind: v.Kind, NetnsPath: v.NetnsPath,
		TapName: v.TapName, Host: v.Host, Created: v.Created,
	}
}

type bindingValue struct {
	Version int       `json:"version"`
	MAC     string    `json:"mac"`
	Learned time.Time `json:"learned"`
}

type trialValue struct {
	Version  int          `json:"version"`
	Allow    []allowValue `json:"allow"`
	Deadline time.Time    `json:"deadline,omitzero"`
}

type allowValue struct {
	From  netip.Prefix `json:"from"`
	Ports []portsValue `json:"ports"`
	Pos   posValue     `json:"pos"`
}

type portsValue struct {
	Any   bool     `json:"any,omitempty"`
	Proto uint8    `json:"proto"`
	First uint16   `json:"first"`
	Last  uint16   `json:"last"`
	Pos   posValue `json:"pos"`
}

type posValue struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (t LockdownTrial) value() trialValue {
	v := trialValue{Version: formatVersion, Deadline: t.Deadline}
	for _, a := range t.Allow {
		allow := allowValue{From: a.From, Pos: posValue(a.Pos)}
		for _, p := range a.Ports {
			allow.Ports = append(allow.Ports, portsValue{Any: p.Any, Proto: p.Proto, First: p.First, Last: p.Last, Pos: posValue(p.Pos)})
		}
		v.Allow = append(v.Allow, allow)
	}
	return v
}

func (v trialValue) trial() *LockdownTrial {
	t := &LockdownTrial{Deadline: v.Deadline}
	for _, a := range v.Allow {
		allow := spec.LockdownAllow{From: a.From, Pos: spec.Pos(a.Pos)}
		for _, p := range a.Ports {
			allow.Ports = append(allow.Ports, spec.Ports{Any: p.Any, Proto: p.Proto, First: p.First, Last: p.Last, Pos: spec.Pos(p.Pos)})
		}
		t.Allow = append(t.Allow, allow)
	}
	return t
}

// check says whether an attachment's fields fit its kind.
func (a Attachment) check() error {
	if err := checkName("workload", a.Name); err != nil {
		return err
	}
	wantPath, wantTap := a.Kind == AttachmentPath, a.Kind == AttachmentTap
	switch {
	case a.Kind != AttachmentNetns && !wantPath && !wantTap:
		return fmt.Errorf("workload %q: attachment kind %q, want netns, path or tap", a.Name, a.Kind)
	case wantPath != (a.NetnsPath != ""):
		return fmt.Errorf("workload %q: a netns path goes with attachment kind path and with no other", a.Name)
	case wantTap != (a.TapName != ""):
		return fmt.Errorf("workload %q: a tap name goes with attachment kind tap and with no other", a.Name)
	}
	return nil
}
