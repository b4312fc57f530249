package gridstore

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// inNamespace is set in the process that has a network namespace of its own.
const inNamespace = "ZOSNET_GRID_TEST"

// TestMain runs the tests in a network namespace of their own, whose loopback has
// the control addresses of nine nodes. It is gone with the process.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		if err := controlAddresses(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		// A member leaves connections of others to run into their timeouts.
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
			goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
		return
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // requireNetwork says so
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// controlAddress is that of node n.
func controlAddress(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:7a6f::%d", n)) }

func controlAddresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look for the loopback interface: %w", err)
	}
	for n := 1; n <= 9; n++ {
		address, err := netlink.ParseAddr(controlAddress(n).String() + "/128")
		if err != nil {
			return err
		}
		address.Flags = unix.IFA_F_NODAD // can be used at once
		if err := netlink.AddrAdd(lo, address); err != nil {
			return fmt.Errorf("give the loopback interface %s: %w", address, err)
		}
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	return nil
}

// requireNetwork ends the test unless it is in a namespace of its own.
func requireNetwork(t testing.TB) {
	t.Helper()
	testenv.RequireRoot(t)
	if _, err := os.Stat("/proc/self/ns/net"); err != nil || os.Getenv(inNamespace) == "" {
		t.Fatal("not in a network namespace of its own")
	}
}
