package registry

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKilledWhileApplying kills a process in the middle of its changes, again
// and again, and holds what the next one finds against what it had been told.
func TestKilledWhileApplying(t *testing.T) {
	const kills = 8
	dir := t.TempDir()
	told := map[int]string{} // by group: the last that the child said of it
	prefixes := map[string]netip.Prefix{}
	for kill := range kills {
		delay := time.Duration(rand.IntN(120)) * time.Millisecond
		killWhileApplying(t, dir, delay, told)
		s := openStore(t, dir)
		snap := snapshot(t, s)
		closeStore(t, s)
		checkConsistent(t, snap)
		checkGroups(t, snap, told)
		for _, n := range snap.Networks {
			if had, known := prefixes[n.Name]; known && had != n.Prefix {
				t.Errorf("network %s had %s and has %s", n.Name, had, n.Prefix)
			}
			prefixes[n.Name] = n.Prefix
		}
		if t.Failed() {
			t.Fatalf("after kill %d, %s after the first answer", kill+1, delay)
		}
	}
	if len(told) < kills {
		t.Errorf("the children stored only %d groups", len(told))
	}
	t.Logf("%d groups over %d kills", len(told), kills)
}

// killWhileApplying starts a child, waits for its first answer and delay more,
// kills it and notes what it had said till then.
func killWhileApplying(t *testing.T, dir string, delay time.Duration, told map[int]string) {
	t.Helper()
	cmd := child(t, childApplies, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	deadline := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // if it never answers
	defer deadline.Stop()
	answers := 0
	for lines := bufio.NewScanner(out); lines.Scan(); answers++ {
		verb, number, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("the child said: %s", lines.Text())
		}
		told[n] = verb
		if answers == 0 {
			time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		}
	}
	if answers == 0 {
		t.Fatal("the child died before its first answer")
	}
}

// checkGroups: what was answered is there, and no transaction is there by half.
func checkGroups(t *testing.T, snap Snapshot, told map[int]string) {
	t.Helper()
	there := map[string]bool{}
	for _, n := range snap.Networks {
		there[n.Name] = true
	}
	for n, verb := range told {
		group := groupOf(n)
		state := fmt.Sprint(there[group[0]], there[group[1]], there[group[2]])
		stored, deleted := state == "true true true", state == "false true true"
		ok := (verb == "stored" && stored) || (verb == "deleting" && (stored || deleted)) || (verb == "deleted" && deleted)
		if !ok {
			t.Errorf("group %d was last said to be %s; there: %s", n, verb, state)
		}
	}
	for _, n := range snap.Networks { // groups that were stored but not answered
		var group int
		if _, err := fmt.Sscanf(n.Name, "g%d-", &group); err != nil {
			t.Fatal(err)
		}
		if g := groupOf(group); !there[g[1]] || !there[g[2]] {
			t.Errorf("group %d is there by half", group)
		}
	}
	for _, a := range snap.Attachments {
		if !there[a.Network] {
			t.Errorf("workload %s is attached to %s, which is not there", a.Name, a.Network)
		}
	}
}
