package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/test/testenv"
)

// TestMain lets the test binary be the web servers that the demo starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == serveVerb {
		fail(serve(os.Args[2], os.Args[3]))
		return
	}
	os.Exit(m.Run())
}

// TestDemo is `make demo`: every line of its table as expected, and nothing
// left behind.
func TestDemo(t *testing.T) {
	testenv.RequireBPF(t)
	for _, tool := range []string{"nmap", "nft", "wg-quick"} {
		testenv.RequireTool(t, tool)
	}
	testenv.Short(t, "a minute")
	if err := run(t.Context(), options{name: "demotest", zosnet: testenv.Zosnet(t), wireguard: testenv.WireGuardGo(t)}); err != nil {
		t.Error(err)
	}
}

// TestVerdict holds that every way in which a line can differ is seen, and
// shown: the demo is worth nothing otherwise.
func TestVerdict(t *testing.T) {
	good := result{what: "a line", want: "silent", got: "silent", reason: "lockdown", seen: "lockdown"}
	tests := map[string]struct {
		change func(*result)
		want   error
		shows  string
	}{
		"as expected":    {func(*result) {}, nil, "✓"},
		"another result": {func(r *result) { r.got = "answered" }, errDiffers, "answered"},
		"another reason": {func(r *result) { r.seen = "host" }, errDiffers, "host, expected lockdown"},
		"no reason":      {func(r *result) { r.seen = "" }, errDiffers, "expected lockdown"},
		"an error":       {func(r *result) { r.err = errors.New("it broke") }, errDiffers, "it broke"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			changed := good
			test.change(&changed)
			all := []section{{"first", []result{good}}, {"second", []result{good, changed}}}
			if err := verdict(all); !errors.Is(err, test.want) {
				t.Errorf("verdict %v, want %v", err, test.want)
			}
			var page bytes.Buffer
			printTable(&page, all)
			if !strings.Contains(page.String(), test.shows) {
				t.Errorf("the table lacks %q:\n%s", test.shows, page.String())
			}
			if marked := strings.Contains(page.String(), "✗"); marked != (test.want != nil) {
				t.Errorf("the table marks a difference: %v\n%s", marked, page.String())
			}
		})
	}
}
