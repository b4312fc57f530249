package apply

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// tapFlags are those that QEMU, Firecracker and Cloud Hypervisor open a tap with:
// no packet information, one queue, a virtio header before each frame.
const tapFlags = netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR

// addTap makes a tap that lasts without a process. It has a made name until it has
// its alias: a tap of a name that somebody chose is zosnet's only by that.
func (p *pass) addTap(w plan.Workload) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = makingName(w.Interface)
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: tapFlags}
	if err := p.netlink.LinkAdd(tap); err != nil {
		return fmt.Errorf("add tap %s: %w", w.Interface, err)
	}
	link, err := p.netlink.LinkByName(attrs.Name)
	if err != nil {
		return fmt.Errorf("look up %s: %w", attrs.Name, err)
	}
	if err := p.netlink.LinkSetAlias(link, workloadAlias(w.Network, w.Name)); err != nil {
		return fmt.Errorf("set alias of tap %s: %w", w.Interface, err)
	}
	if err := p.netlink.LinkSetName(link, w.Interface); err != nil {
		return fmt.Errorf("rename tap %s to %s: %w", attrs.Name, w.Interface, err)
	}
	return nil
}

// makingName gives the made name that a tap has at first.
func makingName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "zwtap-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))[:7]
}

func isTap(link netlink.Link) bool {
	tap, ok := link.(*netlink.Tuntap)
	return ok && tap.Mode == netlink.TUNTAP_MODE_TAP
}
