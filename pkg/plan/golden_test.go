package plan

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

var update = flag.Bool("update", false, "write testdata/*.json anew")

// TestGolden holds the whole state of a few nodes to testdata/NAME.json, so that
// a change of names, addresses or compiled rules is seen by whoever makes it.
func TestGolden(t *testing.T) {
	states := map[string]func(*Input){
		"two-networks": func(*Input) {},
		"no-networks":  func(in *Input) { in.Networks, in.Attachments, in.Learned = nil, nil, nil },
		"lockdown-trial": func(in *Input) {
			in.Networks, in.Attachments, in.Learned = nil, nil, nil
			in.Trial = &Trial{
				Allow: []spec.LockdownAllow{{From: netip.MustParsePrefix("2001:db8:5::/48"),
					Ports: []spec.Ports{{Proto: spec.ProtoTCP, First: 22, Last: 22}}}},
				Deadline: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC),
			}
		},
	}
	for name, edit := range states {
		t.Run(name, func(t *testing.T) {
			in := twoNetworks(t)
			edit(&in)
			got, err := json.MarshalIndent(mustCompute(t, in), "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("the state differs from %s (go test ./pkg/plan -run TestGolden -update writes it anew):\n%s", path, d)
			}
		})
	}
}
