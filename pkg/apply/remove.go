package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/plan"
)

// Removal says what Remove takes out of the kernel.
type Removal struct {
	BPFFS    string
	RunDir   string
	Networks bool // the links of networks and workloads, and pause namespaces, as well
	Log      *slog.Logger
}

// Remove takes all that zosnet made out of the kernel, while no Applier works there:
// first whatever carries tenants' packets, for nothing judges them without programs;
// then routes and sysctls; then programs, maps and the early table. From then on the
// host is open. Without Networks the links stay, those of workloads down.
//
// The changes are those that were made, also where there is an error. Doing it again
// goes on where it stopped.
func Remove(r Removal) ([]plan.Change, error) {
	ledger, err := openLedger(r.RunDir, r.Log)
	if err != nil {
		return nil, err
	}
	p := &pass{ctx: context.Background(), Applier: &Applier{config: Config{RunDir: r.RunDir, Log: r.Log}, ledger: ledger},
		made: map[string]bool{}, failed: map[string]bool{}}
	if err := p.open(); err != nil {
		return nil, err
	}
	defer p.close()
	p.closeLinks(r.Networks)
	p.removeUnreachable()
	p.restoreEverySysctl()
	if len(p.errs) == 0 { // what is not closed keeps its programs
		p.removeDatapath(r.BPFFS)
	}
	if len(p.errs) == 0 {
		p.failIf("the ledger", os.RemoveAll(ledger.path))
	}
	return p.changes, errors.Join(p.errs...)
}

// closeLinks removes what zosnet made, ports before bridges, or takes it down.
func (p *pass) closeLinks(remove bool) {
	links := slices.SortedFunc(maps.Values(p.links.byName), func(a, b netlink.Link) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Attrs().Name, b.Attrs().Name))
	})
	for _, link := range links {
		object := "link " + link.Attrs().Name
		what := strings.TrimPrefix(link.Attrs().Alias, aliasMark)
		switch {
		case !ours(link):
		case remove:
			p.change(object, plan.Remove, what, func() error { return p.removeLink(link) })
		case rank(link) == portRank && isUp(link):
			p.change(object, plan.Modify, what+" down", func() error { return p.netlink.LinkSetDown(link) })
		}
	}
	if remove {
		p.removeNamespaces()
	}
}

const (
	portRank = iota
	bridgeRank
)

// rank is where a link of ours comes in the order.
func rank(link netlink.Link) int {
	if link.Type() == "bridge" {
		return bridgeRank
	}
	return portRank
}

// restoreEverySysctl gives back what the node had before, forwarding first: it
// writes over that of the interfaces.
func (p *pass) restoreEverySysctl() {
	p.restoreSysctls()
	for _, name := range slices.Sorted(maps.Keys(p.ledger.Sysctls)) {
		p.restoreSysctl(name, p.ledger.Sysctls[name])
	}
}

func (p *pass) removeDatapath(bpffs string) {
	filtered, err := p.filtered()
	if p.failIf("programs", err) {
		return
	}
	p.change("programs, maps and links below "+bpffs, plan.Remove, "", func() error { return loader.Remove(bpffs) })
	for _, link := range filtered {
		if left, err := filters(p.netlink, link); p.failIf("qdisc of "+link.Attrs().Name, err) || len(left) > 0 {
			continue // somebody else's
		}
		p.change("qdisc clsact of "+link.Attrs().Name, plan.Remove, "", func() error { return removeClsact(p.netlink, link) })
	}
}

// filtered gives the links on which programs of ours hang by clsact.
func (p *pass) filtered() (list []netlink.Link, err error) {
	qdiscs, err := p.netlink.QdiscList(nil)
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	for _, q := range qdiscs {
		link, known := p.links.byIndex[q.Attrs().LinkIndex]
		if q.Type() != "clsact" || !known {
			continue
		}
		all, err := filters(p.netlink, link)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, isProgram) {
			list = append(list, link)
		}
	}
	return list, nil
}

// filters gives the filters of a link's clsact qdisc, both ways.
func filters(h *netlink.Handle, link netlink.Link) ([]netlink.Filter, error) {
	var all []netlink.Filter
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		list, err := h.FilterList(link, parent)
		if err != nil && !gone(err) {
			return nil, fmt.Errorf("list filters of %s: %w", link.Attrs().Name, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

// isProgram tells a program of ours by its name, as the loader gives it.
func isProgram(f netlink.Filter) bool {
	bpf, ok := f.(*netlink.BpfFilter)
	return ok && slices.Contains([]string{"uplink_ingress", "uplink_egress", "workload_ingress", "workload_egress"}, bpf.Name)
}

func removeClsact(h *netlink.Handle, link netlink.Link) error {
	err := h.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if err != nil && !gone(err) {
		return fmt.Errorf("remove qdisc clsact of %s: %w", link.Attrs().Name, err)
	}
	return nil
}
