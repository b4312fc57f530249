package grid_test

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// Three machines become a grid: the first makes it, the second joins, also when its
// daemon is killed afterwards; a third with a used token does not.
func TestGridFromNothing(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 3)
	first, second, third := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		n.start()
	}
	if _, err := second.cli("grid", "token"); err == nil || !strings.Contains(err.Error(), "in no grid") {
		t.Errorf("a token without a grid: %v", err)
	}
	if _, err := second.cli("grid", "init"); err == nil || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("a grid that begins at a hidden node: %v", err)
	}
	made := first.place("grid", "init")
	if _, err := first.cli("grid", "init"); err == nil || !strings.Contains(err.Error(), "in a grid already") {
		t.Errorf("a second grid: %v", err)
	}
	token := first.token()
	joined := second.place("grid", "join", token)
	if joined.Control != made.Control || joined.Address == made.Address || len(joined.Members) != 1 || joined.Members[0] != first.name {
		t.Errorf("made %+v, joined %+v", made, joined)
	}
	if _, err := third.cli("grid", "join", token); err == nil {
		t.Error("a used token lets another node in")
	}
	if _, err := third.cli("grid", "show"); err == nil {
		t.Error("a node that was refused is in the grid")
	}

	t.Run("tokens are listed and taken back", func(t *testing.T) { tokens(t, first, second.name) })
	t.Run("strangers see nothing of it", func(t *testing.T) {
		for _, port := range []uint16{2379, 2380, 2391} {
			if err := third.reaches(netip.AddrPortFrom(first.Address, port), time.Second); err == nil {
				t.Errorf("port %d of the first node's uplink is open", port)
			}
		}
	})
	t.Run("nodes see the grid's services and nothing else of the host", func(t *testing.T) {
		listener, err := first.Listen("tcp", "[::]:22")
		check(t, err)
		defer func() { _ = listener.Close() }()
		if err := second.reaches(netip.AddrPortFrom(made.Address, 2379), 30*time.Second); err != nil {
			t.Errorf("the registry: %v", err)
		}
		if err := second.reaches(netip.AddrPortFrom(made.Address, 22), time.Second); err == nil {
			t.Error("another port of the host is open")
		}
	})
	t.Run("killed daemons come back into it", func(t *testing.T) {
		for _, n := range []*node{second, first} {
			n.stop(unix.SIGKILL)
		}
		for _, n := range []*node{first, second} {
			n.start()
		}
		if again := second.place("grid", "show"); again.Address != joined.Address {
			t.Errorf("the second node is at %v, was at %v", again.Address, joined.Address)
		}
		got := third.place("grid", "join", first.token())
		if got.Control != made.Control {
			t.Errorf("the third joined %+v", got)
		}
	})
	t.Run("no secret is shown", func(t *testing.T) { searchSecrets(t, nodes, token) })
	t.Run("uninstalled, nothing of it is in the kernel", func(t *testing.T) {
		_, err := second.Run(t.Context(), testenv.Zosnet(t), "uninstall", "--yes", "--config", filepath.Join(second.dir, "node.yaml"))
		check(t, err)
		if out, err := second.Run(t.Context(), "ip", "link", "show", joined.Interface); err == nil {
			t.Errorf("the control interface is still there: %s", out)
		}
		eventually(t, "the WireGuard process has ended", func() bool { return len(second.carriers()) == 0 })
	})
}

// tokens looks at the tokens of a node, of which one was used, and takes another one back.
func tokens(t *testing.T, n *node, joined string) {
	type token struct{ ID, Token, Node string }
	list := func() []token {
		out, err := n.cli("grid", "token", "ls", "-o", "json")
		check(t, err)
		var all struct{ Tokens []token }
		check(t, json.Unmarshal([]byte(out), &all))
		return all.Tokens
	}
	if all := list(); len(all) != 1 || all[0].Node != joined {
		t.Errorf("the tokens after one was used: %v", all)
	}
	out, err := n.cli("grid", "token", "-o", "json")
	check(t, err)
	var made token
	check(t, json.Unmarshal([]byte(out), &made))
	out, err = n.cli("grid", "token", "ls")
	check(t, err)
	if !strings.Contains(out, made.ID) || !strings.Contains(out, "unused") || strings.Contains(out, made.Token[20:60]) {
		t.Errorf("the list says:\n%s", out)
	}
	_, err = n.cli("grid", "token", "revoke", made.ID)
	check(t, err)
	if all := list(); len(all) != 1 || all[0].ID == made.ID {
		t.Errorf("the tokens after one was revoked: %v", all)
	}
	if _, err := n.cli("grid", "token", "revoke", list()[0].ID); err == nil || !strings.Contains(err.Error(), "node remove "+joined) {
		t.Errorf("a used token is taken back: %v", err)
	}
}

// searchSecrets looks for the token and for every private key in what the daemons
// logged.
func searchSecrets(t *testing.T, nodes []*node, token string) {
	secrets := map[string]string{"token": token[20:60]}
	for _, n := range nodes {
		for _, pattern := range []string{"state/grid/*.key", "state/keys/*", "state/overlays/*"} {
			files, err := filepath.Glob(filepath.Join(n.dir, pattern))
			check(t, err)
			for _, file := range files {
				text, err := os.ReadFile(file)
				check(t, err)
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				secrets[file] = lines[len(lines)/2]
				if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v, %v", file, info.Mode(), err)
				}
			}
		}
	}
	if len(secrets) < 6 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	for _, n := range nodes {
		n.stop(unix.SIGTERM)
		shown := n.log.String()
		check(t, filepath.WalkDir(n.dir+"/run", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				text, readErr := os.ReadFile(path)
				shown, err = shown+string(text), readErr
			}
			return err
		}))
		for what, secret := range secrets {
			if strings.Contains(shown, secret) {
				t.Errorf("%s shows the %s", n.name, what)
			}
		}
	}
}
