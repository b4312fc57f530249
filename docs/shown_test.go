package docs

import (
	"regexp"
	"strings"
	"testing"
)

// elsewhere are commands that a page only shows, by the file of the test that runs them
// and what stands there: some need what no page's machines have.
var elsewhere = map[string][2]string{
	"etcdctl user add n1 --no-password":           {"../test/grid/foreign_test.go", "UserAddWithOptions"},
	"etcdctl user grant-role n1 root":             {"../test/grid/foreign_test.go", "UserGrantRole"},
	"etcdctl auth enable":                         {"../test/grid/foreign_test.go", "AuthEnable"},
	"zosnet keys rotate --network acme --wait 5m": {"../test/grid/keys_test.go", `"keys", "rotate", "--network", network`},
	"zosnet keys rotate":                          {"../test/grid/keys_test.go", `"keys", "rotate"`},
	"zosnet keys rotate --every 720h":             {"../test/grid/keys_test.go", `"keys", "rotate", "--every", "720h"`},
	"zosnet keys ls":                              {"../test/grid/keys_test.go", `"keys", "ls"`},
	"zosnet apply --key owner.key -f acme.yaml":   {"../test/grid/failure_test.go", `"apply", "--key", key, "-f"`},
}

// TestShownCommands says that a command of ours which a page shows as text is typed on some
// page, or run by a test that is named above: nobody would notice that it does not work.
func TestShownCommands(t *testing.T) {
	typed := map[string]bool{}
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if prompt[b.kind] != nil {
				for _, cmd := range b.commands() {
					typed[cmd.text] = true
				}
			}
		}
	}
	shown := regexp.MustCompile(`^[a-z0-9]*[$#] ((?:zosnet|etcdctl) .*)$`)
	used := map[string]bool{}
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.kind != "text" {
				continue
			}
			for i, line := range strings.Split(b.text, "\n") {
				found := shown.FindStringSubmatch(line)
				if found == nil || typed[found[1]] {
					continue
				}
				where, known := elsewhere[found[1]]
				used[found[1]] = true
				if !known || !strings.Contains(read(t, where[0]), where[1]) {
					t.Errorf("%s:%d: %s: no test runs it", page, b.line+1+i, found[1])
				}
			}
		}
	}
	for command := range elsewhere {
		if !used[command] {
			t.Errorf("no page shows %s", command)
		}
	}
}
