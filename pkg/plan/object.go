package plan

import (
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/spec"
)

func (p Prefix) object() string { return "prefix " + p.Prefix.String() }

func (p Prefix) fields() []field {
	if p.Node {
		return []field{{"for", "the node itself"}}
	}
	return []field{{"for", "networks"}}
}

func (n Network) object() string { return "network " + n.Name }

func (n Network) fields() []field {
	return []field{
		{"prefix", n.Prefix.String()},
		{"bridge", n.Bridge},
		{"id", fmt.Sprint(n.ID)},
		{"mtu", fmt.Sprint(n.MTU)},
		{"flow sets", fmt.Sprint(n.FlowSets)},
		{"router advertisements", onOff(n.AdvertiseRA)},
	}
}

func (w Workload) object() string { return "workload " + w.Network + "/" + w.Name }

func (w Workload) fields() []field {
	at := w.NetnsPath
	if w.Kind == WorkloadTap {
		at = "tap " + w.Interface
	}
	address := "learned"
	if w.Address.IsValid() {
		address = w.Address.String()
	}
	return []field{
		{"service", w.Service},
		{"address", address},
		{"at", at},
		{"interface", w.Interface},
		{"mac", macText(w.MAC)},
		{"mtu", fmt.Sprint(w.MTU)},
	}
}

// object names the generation too, where there may be two overlays.
func (o Overlay) object() string {
	if o.Generation == 0 {
		return "overlay of network " + o.Network
	}
	return fmt.Sprintf("overlay %d of network %s", o.Generation, o.Network)
}

func (o Overlay) fields() []field {
	nodes := make([]string, len(o.Peers))
	for i, p := range o.Peers {
		nodes[i] = p.Node
	}
	return []field{
		{"interface", o.Interface},
		{"public key", keyText(o.PublicKey)},
		{"port", fmt.Sprint(o.Port)},
		{"mtu", fmt.Sprint(o.MTU)},
		{"nodes", list(nodes)},
	}
}

func (p Peer) fields() []field {
	endpoint := "dials"
	switch {
	case p.Gone:
		endpoint = "gone"
	case p.Endpoint.IsValid():
		endpoint = p.Endpoint.String()
	}
	allowed := make([]string, len(p.AllowedIPs))
	for i, a := range p.AllowedIPs {
		allowed[i] = a.String()
	}
	return []field{
		{"public key", keyText(p.PublicKey)},
		{"endpoint", endpoint},
		{"allowed", list(allowed)},
		{"keepalive", fmt.Sprint(p.Keepalive)},
		{"stands by", fmt.Sprint(p.Standby)},
	}
}

func (e Entrance) object() string { return "entrance of network " + e.Network }

func (e Entrance) fields() []field {
	return []field{
		{"interface", e.Interface},
		{"public key", keyText(e.PublicKey)},
		{"port", fmt.Sprint(e.Port)},
		{"mtu", fmt.Sprint(e.MTU)},
	}
}

func (d Device) object() string { return "access device " + d.Network + "/" + d.Name }

func (d Device) fields() []field {
	return []field{
		{"address", d.Address.String()},
		{"ends at", d.Node},
		{"public key", keyText(d.PublicKey)},
	}
}

// keyText gives a key as wg(8) writes it.
func keyText(key [32]byte) string {
	if key == [32]byte{} {
		return "not made yet"
	}
	return base64.StdEncoding.EncodeToString(key[:])
}

// object names the interface too: VMs of two networks can have one link-local
// address.
func (b Binding) object() string { return fmt.Sprintf("address %s on %s", b.Address, b.Interface) }

func (b Binding) fields() []field { return []field{{"mac", macText(b.MAC)}} }

func macText(mac [6]byte) string { return net.HardwareAddr(mac[:]).String() }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func trialText(t *Trial) string {
	if t == nil {
		return "(none)"
	}
	return allowText(t.Allow) + " until " + t.Deadline.UTC().Format(time.RFC3339)
}

// allowText gives a lockdown's openings on one line.
func allowText(allow []spec.LockdownAllow) string {
	texts := make([]string, len(allow))
	for i, a := range allow {
		ports := make([]string, len(a.Ports))
		for j, p := range a.Ports {
			ports[j] = p.String()
		}
		texts[i] = fmt.Sprintf("%s to %s", a.From, strings.Join(ports, " "))
	}
	return list(texts)
}
