package apply

import (
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// carrierTime is how long a link that was raised may take to carry frames. A few
// milliseconds do, unless the machine is busy.
const carrierTime = time.Second

// awaitCarrier returns when the workloads that this pass added can be reached. A veth
// carries as soon as both ends are up, but the kernel tells its bridge, and gives a
// bridge its queue, a little later; what the host sends until then is lost.
func (p *pass) awaitCarrier(attachments []*attachment) {
	for deadline := time.Now().Add(carrierTime); p.anyWithoutCarrier(attachments); {
		if time.Now().After(deadline) {
			return
		}
		time.Sleep(carrierTime / 200)
	}
}

func (p *pass) anyWithoutCarrier(attachments []*attachment) bool {
	var now *links
	return slices.ContainsFunc(attachments, func(a *attachment) bool {
		if a.Kind == plan.WorkloadTap || !p.made[a.object()] || p.failed[a.object()] {
			return false // what carries a tap's frames is the VM's
		}
		if now == nil {
			now, _ = readLinks()
		}
		return now != nil && (!now.carries(a.Interface) || !now.carries(a.Bridge))
	})
}

// carries tells whether a link is up and running.
func (l *links) carries(name string) bool {
	link, exists := l.byName[name]
	return exists && link.Attrs().OperState == netlink.OperUp
}
