package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settle waits until every machine can send.
func settle(ctx context.Context, machines map[string]*Machine) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, m := range machines {
		for {
			waiting, err := m.unsettled()
			if err != nil {
				return err
			}
			if waiting == "" {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(fmt.Errorf("%s: %s", m.Name, waiting), ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// unsettled tells what a machine still waits for, or nothing: tentative
// addresses, which no socket may use, addresses that are not reached yet, since
// the kernel makes their local route in a work queue, and links that do not run.
// A veth whose two ends have the same interface index, each in its namespace, is
// taken for one without a lower link, and then the kernel lets up to a second
// pass before it gives it a queue (linkwatch_urgent_event); what is sent before
// is lost.
func (m *Machine) unsettled() (string, error) {
	h, err := m.Netlink()
	if err != nil {
		return "", err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return "", fmt.Errorf("%s: list links: %w", m.Name, err)
	}
	cables := map[int]bool{}
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		a := link.Attrs()
		if a.OperState != netlink.OperUp {
			return fmt.Sprintf("link %s is %v", a.Name, a.OperState), nil
		}
		cables[a.Index] = true
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return "", fmt.Errorf("%s: list addresses: %w", m.Name, err)
	}
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			return fmt.Sprintf("address %v is tentative", a.IPNet), nil
		}
		if !cables[a.LinkIndex] || a.IP.IsLinkLocalUnicast() {
			continue
		}
		if routes, err := h.RouteGet(a.IP); err != nil || len(routes) != 1 || routes[0].Type != unix.RTN_LOCAL {
			return fmt.Sprintf("address %v has no local route", a.IPNet), nil
		}
	}
	return "", nil
}
