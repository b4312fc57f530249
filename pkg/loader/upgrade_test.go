package loader

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/spec"
)

// buildWith gives the programs of a build whose maps have another layout: smaller ones.
func buildWith(t *testing.T, divisor uint32) []*ebpf.CollectionSpec {
	t.Helper()
	specs, err := builtIn()
	must(t, err)
	for _, spec := range specs {
		for _, name := range []string{"flows", "host_flows", "lockdown_allow"} {
			if m := spec.Maps[name]; m != nil {
				m.MaxEntries /= divisor
			}
		}
	}
	return specs
}

var errKilled = errors.New("killed")

// replaceSome replaces the programs of so many links, and then ends like a process
// that is killed.
func (d *Datapath) replaceSome(count int) error {
	pins, err := readPins(d.path("links"))
	if err != nil {
		return err
	}
	for _, p := range pins[:min(count, len(pins))] {
		if err := d.replaceLink(p); err != nil {
			return err
		}
	}
	if count > len(pins) {
		if err := d.replaceFilters(); err != nil {
			return err
		}
	}
	return errKilled
}

// Builds of three layouts take turns under traffic, every second one killed while it
// replaces the programs, after none of them, some and all: no packet of what the
// lockdown allows is lost, none of what it denies comes through.
func TestUpgradesLoseNothing(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			up := veth(t, "up0", "world0")
			must(t, netlink.AddrAdd(up, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(hostIPv4), Mask: net.CIDRMask(24, 32)}}))
			allowed, denied := listen(t, allowedPort), listen(t, deniedPort)
			first, err := open(options, buildWith(t, 1))
			must(t, err)
			must(t, first.Maps().PutLockdown(1, []spec.LockdownAllow{{
				From:  netip.MustParsePrefix("192.0.2.0/24"),
				Ports: []spec.Ports{{Proto: spec.ProtoUDP, First: allowedPort, Last: allowedPort}},
			}}))
			must(t, first.Maps().SetLockdown(1))
			_, err = first.AttachUplink("up0")
			must(t, err)
			must(t, first.Close())
			before := linkIDs(t, first)

			sender := newSender(t, up, allowed)
			for i := range 10 {
				sent := sender.sent.Load()
				upgradeTo(t, options, buildWith(t, []uint32{2, 4, 1}[i%3]), i%2 == 0, i/2)
				waitFor(t, "traffic to go on", func() bool { return sender.sent.Load() > sent+20 })
				if t.Failed() {
					break
				}
			}
			total := sender.stop()
			waitFor(t, "all that was sent", func() bool { return allowed.received.Load() >= total })
			if got := allowed.received.Load(); got != total || total < 200 {
				t.Errorf("%d packets sent, %d received", total, got)
			}
			if got := denied.received.Load(); got != 0 {
				t.Errorf("%d packets came through that the lockdown denies", got)
			}
			compareLinks(t, "after all", before, linkIDs(t, first))
		})
	}
}

// upgradeTo is a daemon's way from Open to Commit, or to its death after so many
// links have their new programs.
func upgradeTo(t *testing.T, options Options, build []*ebpf.CollectionSpec, dies bool, links int) {
	t.Helper()
	d, err := open(options, build)
	must(t, err)
	defer func() { must(t, d.Close()) }()
	if len(d.Maps().Changed()) == 0 {
		t.Error("nothing has changed its layout")
	}
	if dies {
		if err := d.Maps().Commit(func() error { return d.replaceSome(links) }); !errors.Is(err, errKilled) {
			t.Errorf("Commit: %v", err)
		}
		return
	}
	must(t, d.Commit())
	if changed := d.Maps().Changed(); len(changed) != 0 {
		t.Errorf("still to change: %v", changed)
	}
}

// A daemon that is started again after it was killed while it replaced programs ends
// that at once: until then packets of one flow may meet programs of two layouts.
func TestAnUnfinishedSwitchEndsAtOnce(t *testing.T) {
	enter(t)
	options := Options{BPFFS: bpffs(t)}
	veth(t, "up0", "world0")
	first, err := open(options, buildWith(t, 2))
	must(t, err)
	_, err = first.AttachUplink("up0")
	must(t, err)
	must(t, first.Close())
	upgradeTo(t, options, buildWith(t, 1), true, 1)
	d := openDatapath(t, options)
	if changed := d.Maps().Changed(); len(changed) != 0 {
		t.Errorf("still to change: %v", changed)
	}
	for name, id := range programsOn(t, d) {
		loaded := false
		for _, program := range d.programs {
			info, err := program.Info()
			must(t, err)
			own, _ := info.ID()
			loaded = loaded || uint32(own) == id
		}
		if !loaded {
			t.Errorf("%s is still an earlier program", name)
		}
	}
}
