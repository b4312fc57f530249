package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// What a reread of node.yaml may change, and what it leaves.
func TestReread(t *testing.T) {
	const good = "node: n1\nuplinks: [eth0]\nstateDir: /s\nrunDir: /r\nbpffs: /b\n"
	for _, tt := range []struct{ name, next, want string }{
		{"the same", good, ""},
		{"uplinks, prefixes, lockdown", "node: n1\nuplinks: [eth1]\nprefixes: [2001:db8::/56]\nlockdown: {allow: [{from: 192.0.2.0/24, ports: [tcp/22]}]}\nstateDir: /s\nrunDir: /r\nbpffs: /b\n", ""},
		{"half-written", good + "prefixes: [2001:", "node.yaml:7:1: not readable as YAML"},
		{"not carried yet", good + "exit: gw1\n", "exit"},
		{"another name and state", "node: n2\nuplinks: [eth0]\nstateDir: /t\nrunDir: /r\nbpffs: /b\n", "node, stateDir changed; that takes a restart"},
		{"other sockets and pins", "node: n1\nstateDir: /s\nrunDir: /x\nbpffs: /y\n", "runDir, bpffs changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.yaml")
			save := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			save(good)
			node, err := readNode(path)
			if err != nil {
				t.Fatal(err)
			}
			f := nodeFile{path: path}
			f.current.Store(node)
			save(tt.next)
			err = f.reread()
			if tt.want == "" {
				if err != nil || f.node() == node {
					t.Errorf("not taken: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || f.node() != node {
				t.Errorf("got %v, want one with %q and the old one kept", err, tt.want)
			}
		})
	}
}

func TestSameLockdown(t *testing.T) {
	list := func(text string) []spec.LockdownAllow {
		node, err := spec.DecodeNode("node.yaml", []byte("node: n1\nlockdown:\n  allow:\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return node.Lockdown.Allow
	}
	ssh := list("  - {from: 192.0.2.0/24, ports: [tcp/22]}\n")
	for _, tt := range []struct {
		name string
		with []spec.LockdownAllow
		want bool
	}{
		{"elsewhere in the file", list("\n\n  - ports: [tcp/22]\n    from: 192.0.2.0/24\n"), true},
		{"another port", list("  - {from: 192.0.2.0/24, ports: [tcp/23]}\n"), false},
		{"another protocol", list("  - {from: 192.0.2.0/24, ports: [udp/22]}\n"), false},
		{"another source", list("  - {from: 192.0.2.0/25, ports: [tcp/22]}\n"), false},
		{"one more", append(list("  - {from: 192.0.2.0/24, ports: [tcp/22]}\n"), ssh...), false},
		{"none", nil, false},
	} {
		if got := sameLockdown(ssh, tt.with); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestLockDirectories(t *testing.T) {
	state, run := t.TempDir(), t.TempDir()
	first, err := lockDirectories(&spec.Node{StateDir: state, RunDir: run})
	if err != nil {
		t.Fatal(err)
	}
	var locked *registry.LockedError
	if _, err := lockDirectories(&spec.Node{StateDir: state, RunDir: t.TempDir()}); !errors.As(err, &locked) {
		t.Errorf("the same state directory: %v", err)
	}
	other := t.TempDir()
	if _, err := lockDirectories(&spec.Node{StateDir: other, RunDir: run}); err == nil || !strings.Contains(err.Error(), "set another runDir") {
		t.Errorf("the same run directory: %v", err)
	}
	if again, err := lockDirectories(&spec.Node{StateDir: other, RunDir: other}); err != nil {
		t.Errorf("one directory for both, after a refusal: %v", err)
	} else {
		again.release()
	}
	first.release()
	if again, err := lockDirectories(&spec.Node{StateDir: state, RunDir: run}); err != nil {
		t.Errorf("after release: %v", err)
	} else {
		again.release()
	}
	file := filepath.Join(state, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockDirectories(&spec.Node{StateDir: file, RunDir: run}); err == nil || !strings.Contains(err.Error(), "set another one in node.yaml") {
		t.Errorf("a file: %v", err)
	}
}
