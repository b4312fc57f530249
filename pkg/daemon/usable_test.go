package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// TestAddressState: an address can be used when it can be bound and is reached.
func TestAddressState(t *testing.T) {
	testenv.RequireRoot(t)
	runtime.LockOSThread() // for good: the thread, and its namespace, end with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	namespace := fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
	settled, tentative := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	run := func(line string) {
		t.Helper()
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	becomes := func(address netip.Addr, want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			got, err := addressState(namespace, address)
			if err != nil {
				t.Fatal(err)
			}
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v %q, want %q", address, got, want)
			}
		}
	}
	becomes(settled, "is missing")
	run("ip link set lo up")
	run("ip -6 address add 2001:db8::1/128 dev lo nodad")
	becomes(settled, "")
	run("ip -6 route del local 2001:db8::1 dev lo table local")
	becomes(settled, "has no local route")
	run("ip -6 route add local 2001:db8::1 dev lo table local")
	becomes(settled, "")

	run("ip link add eth0 type veth peer name far")
	for name, value := range map[string]string{"accept_dad": "1", "dad_transmits": "100"} {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	run("ip link set far up")
	run("ip link set eth0 up")
	run("ip -6 address add 2001:db8::2/64 dev eth0")
	becomes(tentative, "is tentative")
}
