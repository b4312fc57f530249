package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
)

// deadlineSlack is by how much a trial's deadline in the map may differ from the
// plan's: the two clocks are not read at the same moment.
const deadlineSlack = time.Second

// lockdownDigest tells openings apart, wherever they stand in their document.
func lockdownDigest(allow []spec.LockdownAllow) string {
	hash := sha256.New()
	for _, a := range allow {
		fmt.Fprintln(hash, a.From)
		for _, ports := range a.Ports {
			fmt.Fprintln(hash, "\t", ports.Any, ports.Proto, ports.First, ports.Last)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// lockdown is what is in force: versions of the openings, by what they say.
type lockdown struct {
	allow    string
	trial    string // "": none
	deadline uint64 // ns of CLOCK_BOOTTIME
}

// over tells whether the trial has ended by itself.
func (l lockdown) over(boot uint64) bool {
	return l.trial != "" && l.deadline <= boot+uint64(deadlineSlack)
}

// observedLockdown knows a version's openings by the ledger only. Version 0 is that
// of a map never written: nothing is allowed.
func observedLockdown(node bpf.Node, l *ledger) lockdown {
	have := lockdown{deadline: node.TrialDeadline}
	if node.Lockdown == 0 {
		have.allow = lockdownDigest(nil)
	} else if l.Lockdown.Number == node.Lockdown {
		have.allow = l.Lockdown.Digest
	}
	if node.TrialDeadline == 0 {
		return have
	}
	have.trial = "unknown"
	if l.Trial.Number == node.LockdownTrial {
		have.trial = l.Trial.Digest
	}
	return have
}

// plannedLockdown leaves out a trial whose time is over: the datapath went back by
// itself.
func plannedLockdown(state plan.State, now time.Time, boot uint64) lockdown {
	want := lockdown{allow: lockdownDigest(state.Lockdown)}
	if t := state.Trial; t != nil && t.Deadline.After(now) {
		want.trial = lockdownDigest(t.Allow)
		want.deadline = boot + uint64(t.Deadline.Sub(now))
	}
	return want
}

// sameTrial compares trials, their deadlines within deadlineSlack.
func sameTrial(a, b lockdown) bool {
	apart := time.Duration(a.deadline - b.deadline)
	return a.trial == b.trial && (a.trial == "" || apart.Abs() < deadlineSlack)
}

// setLockdown brings the openings for strangers into force, each set of them as a
// version of its own, and a trial with its deadline.
func (p *pass) setLockdown() {
	node, err := p.config.Datapath.Maps().ReadNode()
	if p.failIf("lockdown", err) {
		return
	}
	have := observedLockdown(node, p.ledger)
	now := bpf.BootTime()
	want := plannedLockdown(p.want, time.Now(), now)
	if want.trial == "" && have.over(now) {
		// The datapath went back by itself: nothing drifted, there is only to be tidied up.
		if p.failIf("lockdown", p.config.Datapath.Maps().SetLockdown(node.Lockdown)) {
			return
		}
		have.trial = ""
	}
	next := max(node.Lockdown, node.LockdownTrial, p.ledger.Lockdown.Number, p.ledger.Trial.Number) + 1
	if have.allow != want.allow || want.trial == "" && have.trial != "" {
		p.change("lockdown", plan.Modify, fmt.Sprintf("%d openings", len(p.want.Lockdown)), func() error {
			have.trial = ""
			if have.allow == want.allow {
				return p.config.Datapath.Maps().SetLockdown(node.Lockdown)
			}
			next++
			return p.allow(next-1, want.allow)
		})
	}
	if want.trial != "" && !sameTrial(want, have) {
		detail := fmt.Sprintf("%d openings until %s", len(p.want.Trial.Allow), p.want.Trial.Deadline.Format(time.RFC3339))
		p.change("lockdown trial", plan.Modify, detail, func() error { return p.try(next, want) })
	}
}

// allow puts the plan's openings in force as a version. The trial ends with it.
func (p *pass) allow(number uint32, digest string) error {
	m := p.config.Datapath.Maps()
	if err := m.PutLockdown(number, p.want.Lockdown); err != nil {
		return err
	}
	if err := m.SetLockdown(number); err != nil {
		return err
	}
	p.ledger.Lockdown, p.ledger.Trial = version{number, digest}, version{}
	if err := p.ledger.save(); err != nil {
		return err
	}
	return m.DeleteLockdown(number)
}

// try puts the trial's openings in force until its deadline.
func (p *pass) try(number uint32, want lockdown) error {
	m := p.config.Datapath.Maps()
	node, err := m.ReadNode()
	if err != nil {
		return err
	}
	if err := m.PutLockdown(number, p.want.Trial.Allow); err != nil {
		return err
	}
	if err := m.TryLockdown(number, want.deadline); err != nil {
		return err
	}
	p.ledger.Trial = version{number, want.trial}
	if err := p.ledger.save(); err != nil {
		return err
	}
	return m.DeleteLockdown(node.Lockdown, number)
}
