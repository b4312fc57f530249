package daemon_test

import (
	"bufio"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// The verb of the boot unit locks down without a daemon, also where node.yaml
// cannot be used; then its exit status says so.
func TestEarly(t *testing.T) {
	testenv.RequireBPF(t)
	testenv.RequireTool(t, "nsenter")
	unshare := testenv.RequireTool(t, "unshare")
	const failsafe = "node: n1\nuplinks: [eth0]\nlockdown: {allow: [{from: 198.51.100.0/24, ports: [tcp/2222]}]}\n"
	for _, tt := range []struct {
		name, document string
		status         string
		failsafe       probe.Outcome
	}{
		{"with a failsafe", failsafe, "0", probe.Answered},
		{"with a wrong node.yaml", failsafe + "colour: green\n", "2", probe.Silent},
		{"without a node.yaml", "", "2", probe.Silent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := lab.New(t.Context(), lab.Config{Name: "daemon-early"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}()
			n := &node{Lab: l, t: t}
			for _, port := range []uint16{22, 2222} {
				server, err := probe.ServeHTTP(n.Node, netip.AddrPortFrom(lab.NodeIPv4, port), "node")
				if err != nil {
					t.Fatal(err)
				}
				defer server.Close()
			}
			config := filepath.Join(t.TempDir(), "node.yaml")
			if tt.document != "" {
				if err := os.WriteFile(config, []byte(tt.document), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Answered)

			// A bpffs and a /run of its own, at the place where the machine's are,
			// for as long as the shell waits: the defaults are below them.
			script := "mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs run /run && " + testenv.Zosnet(t) + " lockdown early --config " + config + "; echo status $?; cat"
			shell := n.Node.Command(t.Context(), unshare, "--mount", "sh", "-c", script)
			shell.Stderr = os.Stderr
			in, err := shell.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := shell.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := shell.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = in.Close()
				_ = shell.Wait()
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || strings.TrimSpace(line) != "status "+tt.status {
				t.Fatalf("it ended with %q, %v; want status %s", line, err, tt.status)
			}
			n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Silent)
			n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 2222), tt.failsafe)
			if tt.status == "0" { // else it is physical links alone, and the lab's is a veth
				ignore, err := n.Node.Run(t.Context(), "cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore")
				if err != nil || strings.TrimSpace(ignore) != "1" {
					t.Errorf("arp_ignore of the uplink is %q, %v; want 1", ignore, err)
				}
			}
		})
	}
}
