package apply

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// aliasMark begins the alias of every link that is zosnet's.
const aliasMark = "zosnet "

// madeName is the form of the names that the plan gives to links, which nobody else
// gives. A link of such a name may have no alias yet, or have lost it.
var madeName = regexp.MustCompile(`^z[abow][a-z0-9-]{0,5}-[a-z2-7]{7}$`)

func networkAlias(network string) string { return aliasMark + network }

func workloadAlias(network, workload string) string { return aliasMark + network + "/" + workload }

// ours tells whether zosnet made a link.
func ours(link netlink.Link) bool {
	a := link.Attrs()
	return strings.HasPrefix(a.Alias, aliasMark) || madeName.MatchString(a.Name)
}

// links is every link of the namespace, read once for a pass and kept up with what
// the pass makes and removes.
type links struct {
	byName  map[string]netlink.Link
	byIndex map[int]netlink.Link
	kept    map[int]kept // by index; none of a link that was made or changed since
}

// readLinks reads those of the calling thread's namespace.
func readLinks() (*links, error) {
	list, more, err := dumpLinks()
	if err != nil {
		return nil, err
	}
	l := noLinks()
	l.kept = more
	for _, link := range list {
		l.put(link)
	}
	return l, nil
}

func noLinks() *links {
	return &links{map[string]netlink.Link{}, map[int]netlink.Link{}, map[int]kept{}}
}

// dump repeats a netlink dump that a change interrupted; a few times, for a busy
// machine may always have one.
func dump[T any](list func() ([]T, error)) (result []T, err error) {
	for range 5 {
		if result, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return result, err
		}
	}
	return result, err
}

func (l *links) put(link netlink.Link) {
	l.byName[link.Attrs().Name] = link
	l.byIndex[link.Attrs().Index] = link
}

func (l *links) drop(link netlink.Link) {
	delete(l.byName, link.Attrs().Name)
	delete(l.byIndex, link.Attrs().Index)
}

// index gives a link's interface index, or 0.
func (l *links) index(name string) int {
	if link, ok := l.byName[name]; ok {
		return link.Attrs().Index
	}
	return 0
}

// spanning gives how a bridge brings ports up; of one that was just made, as planned.
func (l *links) spanning(link netlink.Link) spanning {
	if k, known := l.kept[link.Attrs().Index]; known {
		return k.bridge
	}
	return plannedSpanning
}

// refresh reads one link again, after it was made or changed.
func (l *links) refresh(h *netlink.Handle, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	l.put(link)
	delete(l.kept, link.Attrs().Index)
	return link, nil
}

func isUp(link netlink.Link) bool { return link.Attrs().Flags&net.FlagUp != 0 }

// mayUse tells whether a link of a name that the plan uses may be worked on. One of
// ours that is not fit is removed first.
func (p *pass) mayUse(link netlink.Link, object string, fit bool) bool {
	if !ours(link) {
		p.fail(object, fmt.Errorf("there is a link %s already, which is not zosnet's: rename or remove it", link.Attrs().Name))
		return false
	}
	if fit {
		return true
	}
	name := link.Attrs().Name
	return p.change("link "+name, plan.Remove, link.Attrs().Alias, func() error { return p.removePort(link) })
}

// removeLink deletes a link; one that is gone already is no error.
func (p *pass) removeLink(link netlink.Link) error {
	err := p.netlink.LinkDel(link)
	if err != nil && !gone(err) {
		return fmt.Errorf("delete link %s: %w", link.Attrs().Name, err)
	}
	p.links.drop(link)
	return nil
}
