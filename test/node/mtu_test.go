package node

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/zosnet/zosnet/test/lab"
)

// TestUplinkMTU: a network's MTU is that of the way out from the first moment on,
// and follows it.
func TestUplinkMTU(t *testing.T) {
	n := unstarted(t, lab.Config{})
	n.setUplinkMTU(1400)
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	n.apply(red)
	web := n.attach("red", "web", "web-1")
	if err := n.hasMTU(web, 1400); err != nil {
		t.Error(err)
	}
	t.Run("the first plan has it", func(t *testing.T) {
		n := n.inTest(t)
		if err := n.daemon.Kill(); err != nil {
			t.Fatal(err)
		}
		n.setUplinkMTU(1360)
		if err := n.daemon.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.hasMTU(web, 1360); err != nil {
			t.Error(err)
		}
	})
	t.Run("it changes", func(t *testing.T) {
		n := n.inTest(t)
		for _, mtu := range []int{1340, 1380, 1300} {
			n.setUplinkMTU(mtu)
			n.eventually(repairWithin, func() error { return n.hasMTU(web, mtu) })
		}
	})
	t.Run("the uplink goes and comes with another", func(t *testing.T) {
		n := n.inTest(t)
		if out, err := n.Node.Run(t.Context(), "ip", "link", "del", "eth0"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		n.eventually(repairWithin, func() error {
			if _, err := n.daemon.Status(t.Context()); err == nil {
				return errors.New("status says ready without an uplink")
			}
			return nil
		})
		if err := n.hasMTU(web, 1300); err != nil {
			t.Errorf("without an uplink: %v", err)
		}
		if err := n.Replug(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.setUplinkMTU(1320)
		n.eventually(repairWithin, func() error { return n.hasMTU(web, 1320) })
	})
}

func (n *node) setUplinkMTU(mtu int) {
	n.t.Helper()
	if out, err := n.Node.Run(n.t.Context(), "ip", "link", "set", "eth0", "mtu", strconv.Itoa(mtu)); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
}

// hasMTU is an error unless a workload's interface has an MTU.
func (n *node) hasMTU(w *lab.Workload, want int) error {
	out, err := w.Run(n.t.Context(), "ip", "link", "show", "eth0")
	if err == nil && wordAfter(out, "mtu") != strconv.Itoa(want) {
		err = fmt.Errorf("%s has MTU %s, want %d", w.Name, wordAfter(out, "mtu"), want)
	}
	return err
}
