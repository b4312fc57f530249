package grid_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/person"
	"github.com/zosnet/zosnet/test/testenv"
)

// personAcrossNodes: a person who is let in at one node joins at the one that can be
// reached, reaches through it what she is allowed on another, and nothing else; taking
// her access away anywhere ends that.
func personAcrossNodes(t *testing.T, asked *node, laptop *lab.Machine, network, key string, allowed, denied endpoint) {
	if out, err := asked.cli("access", "add", "bob", "--network", network, "--at", asked.name, "--key", key); err == nil || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("bob is let in where nobody can reach: %v\n%s", err, out)
	}
	if list, err := asked.cli("access", "ls"); err != nil || strings.Contains(list, "bob") {
		t.Errorf("who was refused is in the document: %v\n%s", err, list)
	}
	out, err := asked.cli("access", "add", "alice", "--network", network, "--allow", "db", "--key", key, "-o", "json")
	check(t, err)
	var added struct {
		Device struct{ At string }
		Config string
	}
	check(t, json.Unmarshal([]byte(out), &added))
	if added.Device.At == asked.name {
		t.Errorf("alice ends at %s, which nobody can reach", added.Device.At)
	}
	alice, err := person.Join(t.Context(), laptop, added.Config, testenv.Zosnet(t))
	check(t, err)
	t.Cleanup(func() { check(t, alice.Leave()) })

	shown, err := asked.cli("access", "show", "alice", "--network", network)
	check(t, err)
	if got, want := withoutKey(shown), withoutKey(added.Config); got != want {
		t.Errorf("shown again her configuration is\n%s\nand was\n%s", got, want)
	}

	here := endpoint{Machine: laptop, address: alice.Address}
	here.reaches(t, allowed)
	here.reaches(t, endpoint{address: netip.PrefixFrom(alice.Address, 64).Masked().Addr().Next()}) // her gateway
	if here.pings(endpoint{address: netip.PrefixFrom(allowed.address, 64).Masked().Addr().Next()}) {
		t.Error("alice's device is answered by the gateway of a node where it does not end")
	}
	if here.pings(denied) {
		t.Error("alice reaches what nothing allows")
	}
	if denied.pings(here) {
		t.Error("a workload reaches alice, which no rule allows")
	}
	if _, err := asked.cli("trace", "--from", network+"/alice", "--to", network+"/db", "--icmpv6", "echo-request"); err != nil {
		t.Errorf("trace: %v", err)
	}

	answers := here.answered(t, allowed)
	_, err = asked.cli("access", "revoke", "alice", "--network", network, "--key", key)
	check(t, err)
	revoked := time.Now()
	if last := answers(); last.After(revoked.Add(time.Second)) {
		t.Errorf("alice was answered until %v after she was revoked", last.Sub(revoked))
	}
	if here.pings(allowed) {
		t.Error("alice still reaches what she did")
	}
}

// withoutKey gives a configuration without the line of the private key, or of the comment
// in its place.
func withoutKey(config string) (kept string) {
	for line := range strings.Lines(config) {
		if !strings.Contains(line, "PrivateKey = ") {
			kept += line
		}
	}
	return strings.TrimSpace(kept)
}

// answered pings ten times a second; the function that it gives waits until two seconds
// have gone without an answer, and tells when the last one came.
func (e endpoint) answered(t *testing.T, to endpoint) func() time.Time {
	t.Helper()
	last := make(chan time.Time, 1)
	begun := make(chan struct{})
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		at, heard := time.Now(), false
		for ctx.Err() == nil && time.Since(at) < 2*time.Second {
			if e.pingsWithin(ctx, to.address, "0.5") {
				at = time.Now()
				if !heard {
					heard = true
					close(begun)
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		last <- at
	}()
	select {
	case <-begun:
	case <-time.After(patience):
		t.Fatal("nothing was answered")
	}
	return func() time.Time { return <-last }
}

func (e endpoint) pingsWithin(ctx context.Context, to netip.Addr, seconds string) bool {
	return e.Command(ctx, "ping", "-6", "-c", "1", "-W", seconds, to.String()).Run() == nil
}
