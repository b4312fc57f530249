package loader

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
)

// How the names of variants end. Each is a program loaded once more.
const (
	// bareSuffix is for interfaces without an Ethernet header: another constant.
	bareSuffix = "_bare"
	// genericSuffix is for XDP in the stack: without the flag that lets a driver
	// hand a jumbo frame over in pieces. The stack makes one piece of it; where it
	// does not have to, it makes another packet, whose Ethernet header programs of
	// clsact then do not find (skb_pp_cow_data leaves mac_len 0; Linux 6.18).
	genericSuffix = "_generic"
)

// bare are the kinds of interfaces, as netlink names their ARPHRD_* of
// linux/if_arp.h, whose packets begin with their IP header: PPP, tun and WireGuard,
// modems (ARPHRD_RAWIP, 519), tunnels.
var bare = []string{"ppp", "none", "rawip", "unknown519", "sit", "ipip", "tunnel6"}

func isBare(dev netlink.Link) bool { return slices.Contains(bare, dev.Attrs().EncapType) }

// setTimeouts says how long programs remember things. Without it they do as long as
// bpf/lib/config.h says.
func setTimeouts(specs []*ebpf.CollectionSpec, timeouts maps.Timeouts) error {
	for _, spec := range specs {
		if err := spec.Variables[uplinkVarTimeout].Set(timeouts); err != nil {
			return fmt.Errorf("set constant %s: %w", uplinkVarTimeout, err)
		}
	}
	return nil
}

// loadGenericUplink gives the uplink's program for XDP in the stack.
func loadGenericUplink() (*ebpf.CollectionSpec, error) {
	spec, err := loadUplink()
	if err != nil {
		return nil, err
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{uplinkXDP + genericSuffix: genericOf(spec)}
	return spec, nil
}

func genericOf(spec *ebpf.CollectionSpec) *ebpf.ProgramSpec {
	generic := spec.Programs[uplinkXDP].Copy()
	generic.Flags &^= unix.BPF_F_XDP_HAS_FRAGS
	return generic
}

// loadBareUplinks gives the uplink programs for interfaces without an Ethernet header.
func loadBareUplinks() (*ebpf.CollectionSpec, error) {
	spec, err := loadUplink()
	if err != nil {
		return nil, err
	}
	spec.Programs[uplinkXDP+genericSuffix] = genericOf(spec)
	if err := spec.Variables[uplinkVarLinkHeader].Set(uint32(0)); err != nil {
		return nil, fmt.Errorf("set constant %s: %w", uplinkVarLinkHeader, err)
	}
	programs := map[string]*ebpf.ProgramSpec{}
	for name, program := range spec.Programs {
		programs[name+bareSuffix] = program
	}
	spec.Programs = programs
	return spec, nil
}

// isVariant says whether a program is another one loaded once more.
func isVariant(name string) bool {
	return strings.HasSuffix(name, bareSuffix) || strings.HasSuffix(name, genericSuffix)
}

func isVariants(spec *ebpf.CollectionSpec) bool {
	for name := range spec.Programs {
		if !isVariant(name) {
			return false
		}
	}
	return len(spec.Programs) > 0
}

// programFor gives the program that an interface gets under a name: its variant
// where it has one.
func (d *Datapath) programFor(name string, dev netlink.Link) (*ebpf.Program, error) {
	if name == uplinkXDP && hasXDP(dev) && xdpMode(dev) == "generic" {
		name += genericSuffix
	}
	return d.variantFor(name, dev)
}

func (d *Datapath) variantFor(name string, dev netlink.Link) (*ebpf.Program, error) {
	if isBare(dev) && d.has(name+bareSuffix) {
		name += bareSuffix
	}
	program, err := d.program(name)
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", dev.Attrs().Name, err)
	}
	return program, nil
}
