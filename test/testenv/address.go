package testenv

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// WaitForAddress waits until an IPv6 address that was just given to an interface of
// this network namespace can be reached from within it. It can be bound at once, but the
// kernel makes its local route in a work queue afterwards; until then a packet to it
// goes by the prefix route, out of the interface, and is lost.
func WaitForAddress(t testing.TB, address netip.Addr) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		routes, err := netlink.RouteGet(address.AsSlice())
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no local route to %v after a minute: %v, %v", address, routes, err)
		}
	}
}
