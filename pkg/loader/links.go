package loader

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// listLinks lists the interfaces of this network namespace. One that comes or goes
// meanwhile makes the kernel call its answer inconsistent (NLM_F_DUMP_INTR): then it
// is asked again.
func listLinks() (links []netlink.Link, err error) {
	const tries = 10
	for range tries {
		if links, err = netlink.LinkList(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return links, nil
}
