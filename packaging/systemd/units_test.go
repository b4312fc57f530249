// Package systemd holds the units of a node, and the test that systemd takes
// them as they are meant.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/test/testenv"
)

// mostExposure is the overall exposure level, from 0 to 10, that each unit may
// have at most. Without a mount namespace (zosnet.service says why) it cannot
// be as low as that of other services.
var mostExposure = map[string]float64{"zosnet.service": 4.5, "zosnet-early.service": 3.6}

// units copies the units to a directory of their own, with a program that is
// there in place of the installed one: systemd-analyze looks.
func units(t *testing.T) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var paths []string
	for name := range mostExposure {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		replaced := strings.ReplaceAll(string(text), "/usr/bin/zosnet", self)
		if replaced == string(text) {
			t.Errorf("%s does not run /usr/bin/zosnet", name)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(replaced), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

func TestUnitsAreValid(t *testing.T) {
	analyze := testenv.RequireTool(t, "systemd-analyze")
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units(t)...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

var overall = regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+) `)

func TestUnitsAreHardened(t *testing.T) {
	analyze := testenv.RequireTool(t, "systemd-analyze")
	for _, path := range units(t) {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", path).CombinedOutput()
			m := overall.FindSubmatch(out)
			if err != nil || m == nil {
				t.Fatalf("systemd-analyze security: %v\n%s", err, out)
			}
			level, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil || level > mostExposure[name] {
				t.Errorf("exposure %s, %v; want at most %.1f\n%s", m[1], err, mostExposure[name], out)
			}
			t.Logf("exposure %.1f", level)
		})
	}
}

// A unit with a mount namespace of its own makes pause namespaces that nobody
// else sees.
func TestNoMountNamespace(t *testing.T) {
	mounts := regexp.MustCompile(`(?m)^(ProtectSystem|ProtectHome|ReadOnlyPaths|ReadWritePaths|InaccessiblePaths|TemporaryFileSystem|` +
		`Bind(ReadOnly)?Paths|PrivateTmp|PrivateDevices|PrivateMounts|PrivateIPC|ProtectProc|ProcSubset|ProtectKernelTunables|` +
		`ProtectKernelModules|ProtectKernelLogs|ProtectControlGroups|ProtectHostname|MountAPIVFS|RootDirectory|RootImage|DynamicUser)=`)
	for name := range mostExposure {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := mounts.FindString(string(text)); found != "" {
			t.Errorf("%s sets %s, which gives it a mount namespace", name, found)
		}
	}
}
