package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/florianl/go-tc"
	"github.com/florianl/go-tc/core"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Where our filters stand: first in line, under a handle that says whose they
// are ("zn").
const (
	filterPriority = 1
	filterHandle   = 0x7a6e
)

// everyProtocol is ETH_P_ALL in network order.
var everyProtocol = binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))

// attachClsact attaches a program as a direct-action filter. The kernel swaps the
// program of a filter that is there already, under the same handle, in one step.
func (d *Datapath) attachClsact(name string, dev netlink.Link, dir direction) error {
	program, err := d.programFor(name, dev)
	if err != nil {
		return err
	}
	ifname, ifindex := dev.Attrs().Name, dev.Attrs().Index
	conn, err := tc.Open(nil)
	if err != nil {
		return fmt.Errorf("open netlink socket for tc: %w", err)
	}
	defer func() { _ = conn.Close() }()
	existing, err := ourFilter(conn, ifindex, dir)
	if err != nil {
		return fmt.Errorf("read filters of %s: %w", ifname, err)
	}
	if existing != "" && len(d.maps.Changed()) > 0 {
		return nil
	}
	if existing == "" {
		if err := addClsact(conn, ifindex); err != nil {
			return fmt.Errorf("add clsact qdisc to %s: %w", ifname, err)
		}
	}
	fd, flags := uint32(program.FD()), uint32(tc.BpfActDirect)
	filter := filterObject(ifindex, dir)
	filter.BPF = &tc.Bpf{FD: &fd, Name: &name, Flags: &flags}
	if err := conn.Filter().Replace(&filter); err != nil {
		return fmt.Errorf("attach %s to %s by clsact: %w", name, ifname, err)
	}
	return nil
}

// detachClsact removes our filter. The qdisc stays: its removal takes every filter with
// it, one that somebody adds in that moment too, and without filters it does nothing.
func (d *Datapath) detachClsact(name string, dev netlink.Link, dir direction) error {
	conn, err := tc.Open(nil)
	if err != nil {
		return fmt.Errorf("open netlink socket for tc: %w", err)
	}
	defer func() { _ = conn.Close() }()
	existing, err := ourFilter(conn, dev.Attrs().Index, dir)
	if err != nil {
		return fmt.Errorf("read filters of %s: %w", dev.Attrs().Name, err)
	}
	if existing != name {
		return nil
	}
	if err := deleteFilter(conn, dev.Attrs().Index, dir); err != nil {
		return fmt.Errorf("detach %s from %s: %w", name, dev.Attrs().Name, err)
	}
	return nil
}

func deleteFilter(conn *tc.Tc, ifindex int, dir direction) error {
	filter := filterObject(ifindex, dir)
	if err := conn.Filter().Delete(&filter); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// addClsact adds the qdisc that filters hang from, unless there is one.
func addClsact(conn *tc.Tc, ifindex int) error {
	qdisc := tc.Object{
		Msg: tc.Msg{
			Family: unix.AF_UNSPEC, Ifindex: uint32(ifindex),
			Handle: core.BuildHandle(tc.HandleIngress>>16, 0), Parent: tc.HandleIngress,
		},
		Attribute: tc.Attribute{Kind: "clsact"},
	}
	if err := conn.Qdisc().Add(&qdisc); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// filterObject names our filter in one direction.
func filterObject(ifindex int, dir direction) tc.Object {
	return tc.Object{
		Msg: tc.Msg{
			Family: unix.AF_UNSPEC, Ifindex: uint32(ifindex), Handle: filterHandle,
			Parent: filterParent(dir),
			Info:   filterPriority<<16 | uint32(everyProtocol),
		},
		Attribute: tc.Attribute{Kind: "bpf"},
	}
}

func filterParent(dir direction) uint32 {
	minor := tc.HandleMinIngress
	if dir == egress {
		minor = tc.HandleMinEgress
	}
	return core.BuildHandle(tc.HandleIngress>>16, minor)
}

// ourFilter gives the name of our filter's program, or "".
func ourFilter(conn *tc.Tc, ifindex int, dir direction) (string, error) {
	filters, err := conn.Filter().Get(&tc.Msg{
		Family: unix.AF_UNSPEC, Ifindex: uint32(ifindex), Parent: filterParent(dir),
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
		return "", nil // no clsact qdisc
	}
	if err != nil {
		return "", err
	}
	for _, f := range filters {
		if f.Kind == "bpf" && f.Handle == filterHandle && f.Info>>16 == filterPriority && f.BPF != nil && f.BPF.Name != nil {
			return *f.BPF.Name, nil
		}
	}
	return "", nil
}

// eachFilter calls f with every filter of ours on the interfaces.
func eachFilter(links []netlink.Link, f func(conn *tc.Tc, dev netlink.Link, dir direction, name string) error) error {
	conn, err := tc.Open(nil)
	if err != nil {
		return fmt.Errorf("open netlink socket for tc: %w", err)
	}
	defer func() { _ = conn.Close() }()
	clsact, err := withClsact(conn)
	if err != nil {
		return err
	}
	for _, dev := range links {
		if !clsact[uint32(dev.Attrs().Index)] {
			continue
		}
		for _, dir := range []direction{ingress, egress} {
			name, err := ourFilter(conn, dev.Attrs().Index, dir)
			if err != nil {
				return fmt.Errorf("read filters of %s: %w", dev.Attrs().Name, err)
			}
			if name == "" {
				continue
			}
			if err := f(conn, dev, dir, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// withClsact gives the interfaces that have a clsact qdisc, so that filters are
// asked for only there.
func withClsact(conn *tc.Tc) (map[uint32]bool, error) {
	qdiscs, err := conn.Qdisc().Get()
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	have := map[uint32]bool{}
	for _, q := range qdiscs {
		if q.Kind == "clsact" {
			have[q.Ifindex] = true
		}
	}
	return have, nil
}

// replaceFilters gives every filter of ours this build's program.
func (d *Datapath) replaceFilters() error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	return eachFilter(links, func(conn *tc.Tc, dev netlink.Link, dir direction, name string) error {
		if d.programs[name] == nil {
			return nil // left to whoever detaches
		}
		program, err := d.programFor(name, dev)
		if err != nil {
			return err
		}
		fd, flags := uint32(program.FD()), uint32(tc.BpfActDirect)
		filter := filterObject(dev.Attrs().Index, dir)
		filter.BPF = &tc.Bpf{FD: &fd, Name: &name, Flags: &flags}
		if err := conn.Filter().Replace(&filter); err != nil {
			return fmt.Errorf("replace %s on %s: %w", name, dev.Attrs().Name, err)
		}
		return nil
	})
}

// removeFilters removes every filter of ours.
func removeFilters() error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	return eachFilter(links, func(conn *tc.Tc, dev netlink.Link, dir direction, name string) error {
		if err := deleteFilter(conn, dev.Attrs().Index, dir); err != nil {
			return fmt.Errorf("detach %s from %s: %w", name, dev.Attrs().Name, err)
		}
		return nil
	})
}
