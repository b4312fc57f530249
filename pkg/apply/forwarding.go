package apply

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/zosnet/zosnet/pkg/plan"
)

const forwardingSysctl = "net/ipv6/conf/all/forwarding"

// setForwarding makes the node a router while it has networks. A router does not
// listen to RAs unless accept_ra is 2 (kernel, ip-sysctl), so the uplinks that did
// are told to go on first. Without networks everything is as it was before.
func (p *pass) setForwarding() {
	if len(p.want.Networks) == 0 {
		p.restoreSysctls()
		return
	}
	for _, u := range p.uplinks {
		name := interfaceSysctl(u.Name, "accept_ra")
		if value, err := readSysctl(name); !p.failIf("sysctl "+name, err) && value == "1" {
			p.setSysctl(name, value, "2")
		}
	}
	value, err := readSysctl(forwardingSysctl)
	if p.failIf("sysctl "+forwardingSysctl, err) || value == "1" {
		return
	}
	if len(p.unguarded) > 0 {
		p.fail("sysctl "+forwardingSysctl, fmt.Errorf("not switched on while %d uplinks have no programs", len(p.unguarded)))
		return
	}
	if p.failIf("sysctl "+forwardingSysctl, p.noteForwarding()) {
		return
	}
	p.setSysctl(forwardingSysctl, value, "1")
}

// noteForwarding notes which interfaces forwarded by themselves, before a write for
// all of them writes over that.
func (p *pass) noteForwarding() error {
	paths, err := filepath.Glob(filepath.Join(sysctlRoot, interfaceSysctl("*", "forwarding")))
	if err != nil {
		return err
	}
	for _, path := range paths {
		name, err := filepath.Rel(sysctlRoot, path)
		if err != nil {
			return err
		}
		if value, err := readSysctl(name); err != nil {
			return err
		} else if value == "1" && p.ledger.Sysctls[name] == "" {
			p.ledger.Sysctls[name] = value
		}
	}
	return p.ledger.save()
}

// setSysctl writes a value and notes the one before the first of ours.
func (p *pass) setSysctl(name, have, want string) {
	p.change("sysctl "+name, plan.Modify, have+" → "+want, func() error {
		if _, noted := p.ledger.Sysctls[name]; !noted {
			p.ledger.Sysctls[name] = have
			if err := p.ledger.save(); err != nil {
				return err
			}
		}
		return writeSysctl(name, want)
	})
}

// restoreSysctls gives back the values that were there before the node was a router.
func (p *pass) restoreSysctls() {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(p.ledger.Sysctls)), isARP)
	if i := slices.Index(names, forwardingSysctl); i > 0 {
		// It writes over the interfaces' own, so it is first.
		names = slices.Insert(slices.Delete(names, i, i+1), 0, forwardingSysctl)
	}
	for _, name := range names {
		p.restoreSysctl(name, p.ledger.Sysctls[name])
	}
}

func (p *pass) restoreSysctl(name, before string) {
	have, err := readSysctl(name)
	if p.failIf("sysctl "+name, err) {
		return
	}
	forget := func() error {
		delete(p.ledger.Sysctls, name)
		return p.ledger.save()
	}
	if have == "" || have == before { // the interface is gone, or somebody did it
		p.failIf("sysctl "+name, forget())
		return
	}
	p.change("sysctl "+name, plan.Modify, have+" → "+before, func() error {
		if err := writeSysctl(name, before); err != nil {
			return err
		}
		return forget()
	})
}
