package underlay

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses gives the global IPv6 addresses of interfaces, given by name, that are there
// to stay: those that somebody configured first, then by interface and address. An
// interface that is not there has none.
func Addresses(names []string) ([]netip.Addr, error) {
	const passing = unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	type found struct {
		netip.Addr
		lasts bool
		link  int
	}
	var list []found
	for i, name := range names {
		link, err := netlink.LinkByName(name)
		if err != nil {
			continue // it has just vanished
		}
		addresses, err := addressesOn(link)
		if err != nil {
			return nil, fmt.Errorf("read the addresses of %s: %w", name, err)
		}
		for _, a := range addresses {
			ip, ok := netip.AddrFromSlice(a.IP)
			if ok && ip.IsGlobalUnicast() && a.Flags&passing == 0 {
				list = append(list, found{ip, a.Flags&unix.IFA_F_PERMANENT != 0, i})
			}
		}
	}
	slices.SortFunc(list, func(a, b found) int {
		if a.lasts != b.lasts {
			if a.lasts {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.link, b.link), a.Compare(b.Addr))
	})
	out := make([]netip.Addr, len(list))
	for i, f := range list {
		out[i] = f.Addr
	}
	return out, nil
}

// addressesOn lists an interface's addresses. One that comes or goes meanwhile makes the
// kernel call its answer inconsistent (NLM_F_DUMP_INTR): then it is asked again.
func addressesOn(link netlink.Link) (list []netlink.Addr, err error) {
	const tries = 10
	for range tries {
		if list, err = netlink.AddrList(link, netlink.FAMILY_V6); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return list, err
}
