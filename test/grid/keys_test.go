package grid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// networkKey is what `zosnet keys … -o json` says of a network.
type networkKey struct {
	Network, PublicKey, Interface string
	Generation                    int
	EverySeconds                  int64
	Next                          *struct{ WaitsFor []string }
}

func (n *node) networkKey(network string, args ...string) networkKey {
	n.t.Helper()
	out, err := n.cli(append(args, "-o", "json")...)
	check(n.t, err)
	var list struct{ Keys []networkKey }
	check(n.t, json.Unmarshal([]byte(out), &list))
	i := slices.IndexFunc(list.Keys, func(k networkKey) bool { return k.Network == network })
	if i < 0 {
		n.t.Fatalf("%s has no key of %s: %s", n.name, network, out)
	}
	return list.Keys[i]
}

// hasChanged waits until a node's key of a network is of a generation, and nothing of
// the one before is left.
func (n *node) hasChanged(network string, generation int) networkKey {
	n.t.Helper()
	var k networkKey
	await(n.t, patience, func() error {
		k = n.networkKey(network, "keys", "ls")
		files, err := filepath.Glob(filepath.Join(n.dir, "state", "overlays", network+"*"))
		check(n.t, err)
		links, err := n.Run(context.Background(), "ip", "-br", "link")
		check(n.t, err)
		if k.Generation != generation || k.Next != nil || len(files) != 1 || strings.Count(links, "zo"+network[:min(5, len(network))]+"-") != 1 {
			return fmt.Errorf("%s: key %+v, files %v, links\n%s", n.name, k, files, links)
		}
		return nil
	})
	return k
}

// changeKeys changes the keys of a network, once because somebody says so, once because
// it is time, with a daemon killed in the midst of it. What its workloads say to each
// other meanwhile arrives. It gives every private key that there was.
func changeKeys(t *testing.T, network string, first, second *node, web, db endpoint) (private map[string]string) {
	private = map[string]string{}
	note := func() {
		for _, n := range []*node{first, second} {
			files, err := filepath.Glob(filepath.Join(n.dir, "state", "overlays", network+"*"))
			check(t, err)
			for _, file := range files {
				text, err := os.ReadFile(file)
				check(t, err)
				info, err := os.Stat(file)
				check(t, err)
				if private[file] = strings.TrimSpace(string(text)); info.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v", file, info.Mode())
				}
			}
		}
	}
	note()
	before := []networkKey{first.networkKey(network, "keys", "ls"), second.networkKey(network, "keys", "ls")}
	ended := web.talks(db)
	k := first.networkKey(network, "keys", "rotate", "--network", network)
	if k.Next != nil {
		t.Errorf("the first node still waits for %v", k.Next.WaitsFor)
	}
	after := []networkKey{first.hasChanged(network, 1), second.hasChanged(network, 1)}
	for i := range before {
		if after[i].PublicKey == before[i].PublicKey || after[i].Interface == before[i].Interface {
			t.Errorf("before %+v, after %+v", before[i], after[i])
		}
	}

	note()
	long := time.Now().Add(-31 * 24 * time.Hour)
	check(t, os.Chtimes(filepath.Join(second.dir, "state", "overlays", network+".1"), long, long))
	if k := second.networkKey(network, "keys", "rotate", "--every", "720h"); k.EverySeconds != 720*3600 {
		t.Errorf("it is to be changed every %d s", k.EverySeconds)
	}
	eventually(t, "the first node follows", func() bool { return first.networkKey(network, "keys", "ls").Next != nil })
	first.stop(unix.SIGKILL)
	first.start()
	first.hasChanged(network, 2)
	second.hasChanged(network, 2)
	note()
	if sent, lost := ended(t); lost > 0 || sent < 200 {
		t.Errorf("of %d packets %d were lost", sent, lost)
	}
	if _, err := second.cli("keys", "rotate", "--every", "0"); err != nil {
		t.Error(err)
	}
	if _, err := second.cli("keys", "rotate", "--every", "1m"); err == nil {
		t.Error("keys are to be changed every minute")
	}
	if _, err := second.cli("keys", "rotate", "--network", "nobody"); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("the key of no network was changed: %v", err)
	}
	if len(private) != 6 {
		t.Errorf("%d private keys, want three of each node", len(private))
	}
	return private
}

// talks pings fifty times a second, for two minutes at most; the function that it gives
// ends that and tells how many were sent and not answered.
func (e endpoint) talks(to endpoint) func(*testing.T) (sent, lost int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	cmd := e.Command(ctx, "ping", "-6", "-q", "-i", "0.02", "-c", "6000", to.address.String())
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Start()
	return func(t *testing.T) (sent, lost int) {
		t.Helper()
		defer cancel()
		check(t, err)
		_ = cmd.Process.Signal(unix.SIGINT)
		_ = cmd.Wait() // 1 when something was lost
		for line := range strings.Lines(out.String()) {
			var received int
			if _, err := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); err == nil {
				return sent, max(0, sent-received-1) // the last may be on its way
			}
		}
		t.Fatalf("ping said %q", out.String())
		return 0, 0
	}
}

// searchKeys looks for private keys that are not there any more in what daemons, which
// have ended, logged and keep: the registry's files are among that.
func searchKeys(t *testing.T, nodes []*node, private map[string]string) {
	t.Helper()
	for _, n := range nodes {
		search := func(where string, text []byte) {
			for file, key := range private {
				if bytes.Contains(text, []byte(key)) {
					t.Errorf("the key that was in %s is in %s", file, where)
				}
			}
		}
		search("the log of "+n.name, []byte(n.log.String()))
		check(t, filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "bpf" { // the kernel's
				return fs.SkipDir
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			search(path, text)
			return err
		}))
	}
}
