package daemon_test

import (
	"bufio"
	"net/netip"
	"os"
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
			config := n.Path("node.yaml")
			if tt.document != "" {
				n.write("node.yaml", tt.document)
			}
			n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Answered)

			// A bpffs of its own, at the place where the machine's is, for as
			// long as the shell waits: the default is to pin there.
			script := "mount -t bpf bpf /sys/fs/bpf && " + testenv.Zosnet(t) + " lockdown early --config " + config + "; echo status $?; cat"
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
		})
	}
}
