package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"zosnet": func() { os.Exit(run()) },
	})
}

// The scripts say what people and scripts meet on the command line while no
// daemon runs.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": checkStatus,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("ZOSNET_SOCKET", e.WorkDir+"/none.sock")
			return nil
		},
	})
}

// checkStatus is "status N COMMAND...": run it and hold it to its exit status.
func checkStatus(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("%s: exit status %s, want %s", strings.Join(args[1:], " "), got, want)
	}
}

// Whoever meets a verb for the first time sees how it is used.
func TestEveryVerbHasAnExample(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd.HasParent() {
			return
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			if cmd.Example == "" || !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: example line %q; want one, indented", cmd.CommandPath(), line)
			}
		}
		if !strings.Contains(cmd.Example, "zosnet "+strings.TrimPrefix(cmd.CommandPath(), "zosnet ")) && cmd.HasParent() {
			t.Errorf("%s: no example uses it:\n%s", cmd.CommandPath(), cmd.Example)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q; want a line without a full stop", cmd.CommandPath(), cmd.Short)
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(rootCommand())
}
