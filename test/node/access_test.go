package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/person"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// TestAccess: a person joins a network with what `zosnet access add` prints, reaches
// what she is allowed and finds it by name, and is cut off when her access is revoked.
func TestAccess(t *testing.T) {
	n := start(t, lab.Config{NodeDocument: fmt.Sprintf("endpoint: %s\n", lab.NodeIPv4)})
	page := filepath.Join(t.TempDir(), "acme.yaml")
	text := "# acme's page\nnetwork: acme\nnodes: [n1]\nservices: {web: {ports: [tcp/80, tcp/7777]}, db: {ports: tcp/5432}}\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.apply(text)
	t.Cleanup(func() { // the process that carries the entrance outlives the daemon
		if _, err := n.daemon.CLI(context.Background(), "delete", "acme", "--force"); err != nil {
			t.Error(err)
		}
	})
	web, db := n.attach("acme", "web", "web-1"), n.attach("acme", "db", "db-1")
	n.serve(web.Machine, netip.AddrPortFrom(web.Address, 80))
	n.serve(db.Machine, netip.AddrPortFrom(db.Address, 5432))

	cli := func(args ...string) string {
		t.Helper()
		out, err := n.daemon.CLI(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var added struct {
		Device struct{ Name, At, Address, PublicKey string }
		Config string
	}
	out := cli("access", "add", "alice", "--network", "acme", "--allow", "web", "-f", page, "-o", "json")
	if err := json.Unmarshal([]byte(out), &added); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(page)
	if err != nil || !strings.HasPrefix(string(written), text) || !strings.Contains(string(written), added.Device.PublicKey) {
		t.Errorf("the document became %q, %v", written, err)
	}
	if added.Device.At != "n1" {
		t.Errorf("alice ends at %q", added.Device.At)
	}

	alice, err := person.Join(t.Context(), n.Outside, added.Config, testenv.Zosnet(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := alice.Leave(); err != nil {
			t.Error(err)
		}
	})
	n.eventually(20*time.Second, func() error {
		got, outcome, err := probe.Get(t.Context(), n.Outside, netip.AddrPortFrom(web.Address, 80), within)
		if got != web.Name || err != nil {
			return fmt.Errorf("alice gets %q from web-1: %s, %w", got, outcome, err)
		}
		return nil
	})
	n.connects(n.Outside, netip.AddrPortFrom(db.Address, 5432), probe.Silent)
	n.pings(n.Outside, web.Gateway(), probe.Answered)
	for _, transport := range []string{"udp", "tcp"} {
		n.eventually(10*time.Second, func() error {
			got, err := resolve(t.Context(), n.Outside, transport, alice.DNS[0], "web.acme.internal.")
			if len(got) != 1 || got[0] != web.Address.String() {
				return fmt.Errorf("web is %v by %s: %w", got, transport, err)
			}
			return nil
		})
	}
	for flow, want := range map[string]int{"acme/web": 0, "acme/db": 4} {
		_, err := n.daemon.CLI(t.Context(), "trace", "--from", "acme/alice", "--to", flow, "--tcp", "80")
		status := 0
		var failure *lab.Failure
		if errors.As(err, &failure) {
			status = failure.Code
		}
		if status != want {
			t.Errorf("trace to %s: %v, want exit status %d", flow, err, want)
		}
	}

	var list struct {
		Devices []struct{ Name, LastHandshake string }
	}
	if err := n.daemon.Decode(t.Context(), &list, "access", "ls", "-o", "json"); err != nil || len(list.Devices) != 1 || list.Devices[0].LastHandshake == "" {
		t.Errorf("access ls tells %+v, %v", list, err)
	}

	n.outdates()

	stream, err := probe.StartStream(t.Context(), n.Outside, web.Machine, netip.AddrPortFrom(web.Address, 7777), probe.ClientSends)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	if err := stream.WaitProgress(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	cli("access", "revoke", "alice", "--network", "acme", "-f", page)
	revoked := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	last, err := stream.WaitStall(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if last.After(revoked.Add(time.Second)) {
		t.Errorf("her stream went on for %v after she was revoked, which took %v", last.Sub(revoked), revoked.Sub(begin))
	}
	n.connects(n.Outside, netip.AddrPortFrom(web.Address, 80), probe.Silent)
	if after, err := os.ReadFile(page); err != nil || strings.Contains(string(after), "alice") {
		t.Errorf("the document is still %q, %v", after, err)
	}
	if list := cli("access", "ls"); strings.Contains(list, "alice") {
		t.Errorf("access ls shows\n%s", list)
	}
	searchFor(t, n, privateKeyIn(added.Config))
}

// outdates moves the node to another address: what alice was given is out of date until it
// is given out anew.
func (n *node) outdates() {
	n.t.Helper()
	type state struct{ Given, Outdated bool }
	expect := func(what string, want state) {
		n.t.Helper()
		n.eventually(20*time.Second, func() error {
			var list struct {
				Devices []struct {
					Given    string
					Outdated []string
				}
			}
			err := n.daemon.Decode(n.t.Context(), &list, "access", "ls", "-o", "json")
			if err != nil || len(list.Devices) != 1 || (state{list.Devices[0].Given != "", len(list.Devices[0].Outdated) > 0}) != want {
				return fmt.Errorf("%s: access ls tells %+v, %w; want %+v", what, list, err, want)
			}
			return nil
		})
	}
	expect("as added", state{Given: true})
	n.rewrite("endpoint: "+lab.NodeIPv4.String(), "endpoint: 198.51.100.77")
	expect("the node moved", state{Given: true, Outdated: true})
	said, err := n.daemon.Command(n.t.Context(), testenv.Zosnet(n.t), "access", "show", "alice", "--network", "acme").CombinedOutput()
	for _, want := range []string{"Endpoint = 198.51.100.77:", "node n1 is reached at 198.51.100.77:", "alice must take this one"} {
		if err != nil || !strings.Contains(string(said), want) {
			n.t.Errorf("access show does not say %q: %v\n%s", want, err, said)
		}
	}
	expect("given anew", state{Given: true})
}

// TestAccessThatIsNotGiven: nobody is let in whose configuration cannot be printed, and a
// dry run leaves nothing of one who might be.
func TestAccessThatIsNotGiven(t *testing.T) {
	n := start(t, lab.Config{})
	text := "network: acme\nnodes: [n1]\nservices: {web: {ports: tcp/80}}\n"
	n.apply(text)
	t.Cleanup(func() { // the process that carries the entrance outlives the daemon
		if _, err := n.daemon.CLI(context.Background(), "delete", "acme", "--force"); err != nil {
			t.Error(err)
		}
	})
	page := filepath.Join(t.TempDir(), "acme.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asItWas := func(what string) {
		t.Helper()
		if now, err := os.ReadFile(page); err != nil || string(now) != text {
			t.Errorf("%s: the document became %q, %v", what, now, err)
		}
		if list, err := n.daemon.CLI(t.Context(), "access", "ls"); err != nil || strings.Contains(list, "alice") {
			t.Errorf("%s: access ls shows\n%s%v", what, list, err)
		}
	}
	write(text)

	_, err := n.daemon.CLI(t.Context(), "access", "add", "alice", "--network", "acme", "-f", page)
	var failure *lab.Failure
	if !errors.As(err, &failure) || failure.Code != 1 || !strings.Contains(failure.Stderr, "endpoint") || failure.Stdout != "" {
		t.Errorf("without an endpoint alice is let in: %v", err)
	}
	asItWas("without an endpoint")

	n.rewrite("node: n1\n", fmt.Sprintf("node: n1\nendpoint: %s\n", lab.NodeIPv4))
	wanted := accessible(t)
	n.eventually(20*time.Second, func() error {
		out, err := n.daemon.CLI(t.Context(), "apply", "--dry-run", "-f", wanted)
		if err == nil && !strings.Contains(out, "entrance of network acme") {
			err = fmt.Errorf("a dry run shows no entrance:\n%s", out)
		}
		return err
	})
	for _, kept := range []string{"entrances", "entrances.json"} {
		if list, err := filepath.Glob(n.Path(filepath.Join("state", kept, "*"))); err != nil || len(list) > 0 {
			t.Errorf("a dry run leaves %v, %v", list, err)
		}
	}

	full := n.daemon.Command(t.Context(), "sh", "-c", testenv.Zosnet(t)+" access add alice --network acme -f "+page+" >/dev/full")
	if said, err := full.CombinedOutput(); err == nil || !strings.Contains(string(said), "as it was") {
		t.Errorf("what cannot be printed: %v\n%s", err, said)
	}
	asItWas("onto a full disk")
}

// accessible writes a document of acme with a device.
func accessible(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acme.yaml")
	text := "network: acme\nnodes: [n1]\nservices: {web: {ports: tcp/80}}\n" +
		"access: {alice: {publicKey: \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\", allow: web}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func privateKeyIn(config string) string {
	for line := range strings.Lines(config) {
		if key, ok := strings.CutPrefix(line, "PrivateKey = "); ok {
			return strings.TrimSpace(key)
		}
	}
	return ""
}

// searchFor fails where a person's private key is in anything that the node keeps.
func searchFor(t *testing.T, n *node, secret string) {
	t.Helper()
	if secret == "" {
		t.Fatal("the configuration has no private key")
	}
	err := filepath.WalkDir(filepath.Dir(n.Path("node.yaml")), func(path string, entry os.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil // gone meanwhile
		case err != nil || !entry.Type().IsRegular():
			return err
		}
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), secret) {
			t.Errorf("%s has the person's private key", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
