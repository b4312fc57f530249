package apply

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// attachment is a workload of the plan with what the pass found or made for it.
type attachment struct {
	plan.Workload
	link     netlink.Link // host side; nil: not there, or not to be touched further
	endpoint endpoint     // of a namespace
	unseen   bool         // its namespace was not looked into
}

func workloadObject(network, workload string) string { return "workload " + network + "/" + workload }

func (a *attachment) object() string { return workloadObject(a.Network, a.Name) }

// makeLinks gives every workload its link, down and without a bridge: it comes up
// when the datapath knows whose it is.
func (p *pass) makeLinks() []*attachment {
	attachments := make([]*attachment, 0, len(p.want.Workloads))
	due := p.due(&p.looks, len(p.want.Workloads))
	for i, w := range p.want.Workloads {
		if p.ctx.Err() != nil {
			break
		}
		a := &attachment{Workload: w}
		a.unseen = !due(i) && p.links.carries(a.Interface) && p.settled.workloads[a.object()] == w
		p.makeLink(a)
		attachments = append(attachments, a)
	}
	return attachments
}

func (p *pass) makeLink(a *attachment) {
	link, exists := p.links.byName[a.Interface]
	if exists && !p.mayUse(link, a.object(), p.fits(link, a.Workload)) {
		return
	}
	if a.Kind == plan.WorkloadTap {
		p.makeTap(a)
	} else {
		p.makeVeth(a)
	}
}

// fits tells whether a link is of the workload's kind and no other workload's.
func (p *pass) fits(link netlink.Link, w plan.Workload) bool {
	alias := link.Attrs().Alias
	if strings.HasPrefix(alias, aliasMark) && alias != workloadAlias(w.Network, w.Name) {
		return false
	}
	if w.Kind == plan.WorkloadTap {
		return isTap(link)
	}
	return link.Type() == "veth"
}

func (p *pass) makeTap(a *attachment) {
	if link, exists := p.links.byName[a.Interface]; exists {
		a.link = link
		return
	}
	p.change(a.object(), plan.Add, "tap "+a.Interface, func() (err error) {
		if err := p.addTap(a.Workload); err != nil {
			return err
		}
		a.link, err = p.links.refresh(p.netlink, a.Interface)
		return err
	})
}

// makeVeth finds both ends of the workload's veth, or makes them anew: with a
// namespace, or an end in it, that is gone, the other end is of no use.
func (p *pass) makeVeth(a *attachment) {
	link, exists := p.links.byName[a.Interface]
	if a.unseen {
		a.link = link
		return
	}
	namespace, err := openNamespace(a.NetnsPath)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.fail(a.object(), err)
		return
	}
	if err == nil {
		defer func() { _ = namespace.Close() }()
		if a.endpoint, err = p.observeIn(namespace, a.Workload); err != nil {
			p.fail(a.object(), err)
			return
		}
		if p.failIf(a.object(), p.mayEnter(a)) {
			return
		}
		if exists && paired(link, a.endpoint) {
			a.link = link
			return
		}
	}
	detail := fmt.Sprintf("%s at %s", a.Address, a.NetnsPath)
	p.change(a.object(), plan.Add, detail, func() error { return p.addPair(a, link, namespace) })
}

// addPair makes the namespace where it is missing, and the veth. What is left of
// an earlier one goes first.
func (p *pass) addPair(a *attachment, left netlink.Link, namespace *os.File) (err error) {
	if left != nil {
		if err := p.removePort(left); err != nil {
			return err
		}
	}
	if namespace == nil {
		if a.Kind == plan.WorkloadPath {
			return fmt.Errorf("there is no network namespace at %s: make it again, or detach the workload", a.NetnsPath)
		}
		if err := makeNamespace(a.NetnsPath, p.pauseAlias(a.Network, a.Name)); err != nil {
			return err
		}
		if namespace, err = openNamespace(a.NetnsPath); err != nil {
			return err
		}
		defer func() { _ = namespace.Close() }()
	}
	if err := p.addVeth(a.Workload, namespace); err != nil {
		return err
	}
	if a.link, err = p.links.refresh(p.netlink, a.Interface); err != nil {
		return err
	}
	a.endpoint, err = p.observeIn(namespace, a.Workload)
	return err
}

func (p *pass) observeIn(namespace *os.File, w plan.Workload) (e endpoint, err error) {
	begin := time.Now()
	defer func() { p.looks.took(time.Since(begin)) }()
	err = inside(namespace, func(h *netlink.Handle) error {
		e, err = observeEndpoint(h, w)
		return err
	})
	return e, err
}

// mayEnter refuses a namespace at a pause namespace's path that is none of ours.
func (p *pass) mayEnter(a *attachment) error {
	if a.Kind == plan.WorkloadPath || a.endpoint.alias == p.pauseAlias(a.Network, a.Name) {
		return nil
	}
	return fmt.Errorf("network namespace %s was not made by this daemon: remove it (ip netns delete %s), or attach it with --netns",
		a.NetnsPath, strings.TrimPrefix(a.NetnsPath, namespaceDir+"/"))
}

// raise brings a workload into its network: programs, then the bridge, then its own
// side, and up last.
func (p *pass) raise(a *attachment) {
	delete(p.settled.workloads, a.object())
	if a.link == nil || p.failed[a.object()] || p.failed[networkObject(a.Network)] {
		return
	}
	if !p.attachPrograms(a) {
		p.shut(a)
		return
	}
	differences, err := p.comparePort(a)
	if p.failIf(a.object(), err) {
		return
	}
	for _, d := range differences {
		if !p.settle(a, d.String(), func() error { return p.setPort(a.link, d) }) {
			return
		}
	}
	if a.Kind != plan.WorkloadTap && !a.unseen {
		p.raiseEndpoint(a)
	}
	if !isUp(a.link) {
		p.settle(a, "up", func() error { return p.netlink.LinkSetUp(a.link) })
	}
	if !p.failed[a.object()] && p.ctx.Err() == nil {
		p.settled.workloads[a.object()] = a.Workload
	}
}

// shut takes down an interface that has lost its programs and cannot get them back.
func (p *pass) shut(a *attachment) {
	if p.ctx.Err() == nil && isUp(a.link) {
		p.failIf(a.object(), p.netlink.LinkSetDown(a.link))
	}
}

func (p *pass) comparePort(a *attachment) ([]difference, error) {
	differences, err := compareSysctls(a.Interface, p.links.kept[a.link.Attrs().Index], portSysctls)
	if err != nil {
		return nil, err
	}
	bridge := p.links.index(a.Bridge)
	if bridge == 0 {
		return nil, fmt.Errorf("its bridge %s is not there", a.Bridge)
	}
	return append(differences, comparePort(plannedPort(a.Workload, bridge), observedPort(a.link))...), nil
}

// settle makes a change that is part of adding the workload where this pass did.
func (p *pass) settle(a *attachment, detail string, do func() error) bool {
	if p.made[a.object()] {
		return !p.failIf(a.object(), do())
	}
	return p.change(a.object(), plan.Modify, detail, do)
}

func (p *pass) raiseEndpoint(a *attachment) {
	differences := compareEndpoint(a.Workload, a.endpoint)
	if len(differences) == 0 {
		return
	}
	p.settle(a, describe(differences), func() error {
		namespace, err := openNamespace(a.NetnsPath)
		if err != nil {
			return err
		}
		defer func() { _ = namespace.Close() }()
		return settleEndpoint(namespace, a.Workload, differences)
	})
}

// removeWorkloads takes away the links of workloads that the plan no longer has,
// and what the datapath holds of them.
func (p *pass) removeWorkloads() {
	wanted := map[string]bool{}
	for _, w := range p.want.Workloads {
		wanted[w.Interface] = true
	}
	for name, link := range p.links.byName {
		if (link.Type() == "veth" || isTap(link)) && ours(link) && !wanted[name] {
			workload := strings.TrimPrefix(link.Attrs().Alias, aliasMark)
			p.change("workload "+workload, plan.Remove, name, func() error { return p.removePort(link) })
		}
	}
}

// removePort deletes a workload's link, which ends its traffic, and then what the
// datapath has of it.
func (p *pass) removePort(link netlink.Link) error {
	if err := p.removeLink(link); err != nil {
		return err
	}
	return p.config.Datapath.DetachWorkload(link.Attrs().Name)
}
