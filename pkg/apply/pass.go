package apply

import (
	"fmt"

	"github.com/zosnet/zosnet/pkg/plan"
)

// reconcile compares and changes every kind of object, in the order that keeps
// everything closed that is not ready: what the datapath must know of the node,
// what goes, and what comes, from the rules to the links.
func (p *pass) reconcile() {
	p.setPrefixes()
	p.setLockdown()
	p.setUplinks()
	p.setARP()

	p.withdrawRouters()
	p.removeWorkloads()
	p.removeNamespaces()
	p.removeBridges()
	p.removeOverlays()
	p.removeEntrances()
	p.removeNetworks()

	p.addUnreachable()
	p.setForwarding()
	p.inspectPolicies()
	for _, n := range p.want.Networks {
		p.makeBridge(n)
		p.setNetwork(n)
	}
	p.noteContents()
	p.makeOverlays()
	p.makeEntrances()
	attachments := p.makeLinks()
	p.setPorts(attachments)
	p.setBindings(attachments)
	for _, n := range p.want.Networks {
		p.raiseBridge(n)
	}
	for _, a := range attachments {
		p.raise(a)
	}
	p.awaitCarrier(attachments)
	p.restoreConnected()
	p.setOverlayRoutes()
	p.setEntranceRoutes()
	p.setProxied()
	p.startRouters()
	p.removeUnreachable()
	p.setBackstop()
	p.settled.keep(p.want)
	p.noteCut()
}

// noteCut says that the pass was ended before it was done.
func (p *pass) noteCut() {
	if err := p.ctx.Err(); err != nil {
		p.errs = append(p.errs, fmt.Errorf("apply was cut short; the next one finishes it: %w", err))
	}
}

// change makes one change and notes it. It tells whether that went well.
func (p *pass) change(object string, action plan.Action, detail string, do func() error) bool {
	if p.ctx.Err() != nil {
		return false
	}
	if err := do(); err != nil {
		p.fail(object, err)
		return false
	}
	p.note(object, action, detail)
	if action == plan.Add {
		p.made[object] = true
	}
	return true
}

// note notes a change that was made.
func (p *pass) note(object string, action plan.Action, detail string) {
	p.changes = append(p.changes, plan.Change{Object: object, Action: action, Detail: detail})
}

// fail notes what went wrong with an object. The rest of the pass goes on.
func (p *pass) fail(object string, err error) {
	p.failed[object] = true
	p.errs = append(p.errs, &ObjectError{object, err})
}

// failIf notes an error, if there is one, and tells whether there was.
func (p *pass) failIf(object string, err error) bool {
	if err != nil {
		p.fail(object, err)
	}
	return err != nil
}
