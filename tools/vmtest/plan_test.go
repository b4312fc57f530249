package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/tools/vmtest/debian"
	"github.com/zosnet/zosnet/tools/vmtest/module"
)

func TestChoose(t *testing.T) {
	all := []group{{pkg: "pkg/a", skip: "TestSlow"}, {pkg: "pkg/b"}, {pkg: "tools/c", run: "TestThree", named: true}}
	for _, c := range []struct {
		run  string
		want []group
	}{
		{"", all[:2]},
		{"pkg/a", all[:1]},
		{"pkg/", all[:2]},
		{"tools/c", all[2:]},
		{"pkg/b/TestOne", []group{{pkg: "pkg/b", run: "TestOne"}}},
		{"TestOne", []group{{pkg: "pkg/a", run: "TestOne", skip: "TestSlow"}, {pkg: "pkg/b", run: "TestOne"}, {pkg: "tools/c", run: "TestOne"}}},
	} {
		got, err := choose(all, c.run)
		if err != nil || !slices.EqualFunc(got, c.want, func(a, b group) bool { return a.pkg == b.pkg && a.run == b.run && a.skip == b.skip }) {
			t.Errorf("RUN=%s: %+v %v", c.run, got, err)
		}
	}
	if _, err := choose(all, "("); err == nil {
		t.Error("a broken pattern was taken")
	}
}

// Each kernel gets what is usual and its share of the rest.
func TestWanted(t *testing.T) {
	all := []group{
		{pkg: "pkg/a", usual: "TestOne", also: shares{"6.1": "TestTwo"}},
		{pkg: "pkg/b", only: "6.12 sid"},
		{pkg: "pkg/c", refused: true},
	}
	for _, c := range []struct {
		run  string
		k    kernel
		want []string
	}{
		{"", kernel{name: "6.1"}, []string{"pkg/a TestOne|TestTwo", "pkg/c "}},
		{"", kernel{name: "6.12"}, []string{"pkg/a TestOne", "pkg/b ", "pkg/c "}},
		{"", kernel{name: "5.10", refused: true}, []string{"pkg/c "}},
		{"pkg/a", kernel{name: "6.1"}, []string{"pkg/a "}},
		{"pkg/a/TestTwo", kernel{name: "6.1"}, []string{"pkg/a TestTwo"}},
	} {
		chosen, err := choose(all, c.run)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range wanted(fetched{kernel: c.k}, chosen) {
			got = append(got, g.pkg+" "+g.run)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("RUN=%s on %s: %q, want %q", c.run, c.k.name, got, c.want)
		}
	}
}

func TestChosen(t *testing.T) {
	if list, err := chosen("6.12 6.1"); err != nil || len(list) != 2 || list[0].name != "6.12" {
		t.Errorf("%v %v", list, err)
	}
	if _, err := chosen("2.4"); err == nil || !strings.Contains(err.Error(), "2.4") {
		t.Errorf("a kernel that is not in the matrix: %v", err)
	}
}

// A kernel without a module that a test needs is an error that names both.
func TestMissingModule(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "modules.builtin")
	if err := os.WriteFile(list, []byte("kernel/net/veth.ko\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	modules, err := module.Open(dir, list)
	if err != nil {
		t.Fatal(err)
	}
	k := fetched{kernel{name: "6.1"}, &debian.Kernel{Package: debian.Package{Name: "linux", Version: "1"}}}
	_, _, err = plan(k, []group{{pkg: "pkg/a", modules: []string{"veth", "vrf"}}}, modules)
	if err == nil || !strings.Contains(err.Error(), "pkg/a needs the module vrf") || strings.Contains(err.Error(), "veth") {
		t.Errorf("got %v", err)
	}
}
