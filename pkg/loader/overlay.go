package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// The programs on the interfaces to a network's other nodes, by their names in C.
const (
	overlayIngress = "overlay_ingress"
	overlayEgress  = "overlay_egress"
)

// loadWireGuard gives the overlay programs for what WireGuard's interfaces carry: IP
// packets without a header of their link.
func loadWireGuard() (*ebpf.CollectionSpec, error) {
	spec, err := loadOverlay()
	if err != nil {
		return nil, err
	}
	return spec, setBare(spec)
}

// setBare says that packets begin with their IP header.
func setBare(spec *ebpf.CollectionSpec) error {
	if err := spec.Variables[overlayVarLinkHeader].Set(uint32(0)); err != nil {
		return fmt.Errorf("set constant %s: %w", overlayVarLinkHeader, err)
	}
	return nil
}

// AttachOverlay attaches the overlay programs to an interface that leads to a
// network's other nodes. What is attached already stays, or gets this build's program
// in place. Whose overlay it is stands in the maps; while it does not, every packet is
// dropped.
func (d *Datapath) AttachOverlay(ifname string) ([]Attachment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dev, err := netlink.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s: %w", overlayIngress, ifname, err)
	}
	if !isBare(dev) {
		return nil, fmt.Errorf("attach %s to %s: it is an interface of type %s, whose packets have a link header; "+
			"an overlay's is WireGuard's", overlayIngress, ifname, dev.Attrs().EncapType)
	}
	if err := d.attachTC(overlayEgress, dev, egress); err != nil {
		return nil, err
	}
	if err := d.attachTC(overlayIngress, dev, ingress); err != nil {
		return nil, err
	}
	return d.attachmentsOf(dev.Attrs().Index)
}

// DetachOverlay takes the overlay programs off an interface, also one that has gone.
func (d *Datapath) DetachOverlay(ifname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.detachTC(overlayIngress, ifname, ingress); err != nil {
		return err
	}
	return d.detachTC(overlayEgress, ifname, egress)
}
