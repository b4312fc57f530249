package apply

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

// addVeth makes a veth pair: one end here and down, the other as eth0 in the
// namespace.
func (p *pass) addVeth(w plan.Workload, namespace *os.File) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = w.Interface, int(w.MTU)
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = endpointName, w.MAC[:], uint32(w.MTU)
	veth.PeerNamespace = netlink.NsFd(int(namespace.Fd()))
	err := p.netlink.LinkAdd(veth)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add veth %s: %s has an %s already, which is not zosnet's: %w",
			w.Interface, namespace.Name(), endpointName, err)
	}
	if err != nil {
		return fmt.Errorf("add veth %s to %s: %w", w.Interface, namespace.Name(), err)
	}
	return nil
}

// paired tells whether a host-side link and an eth0 are the two ends of one veth.
func paired(link netlink.Link, e endpoint) bool {
	return link.Type() == "veth" && e.index != 0 &&
		link.Attrs().ParentIndex == e.index && e.peer == link.Attrs().Index
}
