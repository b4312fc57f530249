package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zosnet/zosnet/tools/vmtest/job"
)

// compilersSuite is what runs instead of the suite when compilers are named.
var compilersSuite = []group{{
	pkg: "pkg/loader", run: "TestCompilers", modules: datapath, limit: 5 * time.Minute,
	env: []string{"ZOSNET_OBJECTS=" + job.SourceDir + "/objects"},
}}

// objects compiles every program with every version of clang, into a directory
// of build/vmtest/objects for each. Except for the compiler the command is that
// of the go:generate lines in pkg/loader.
func (t tree) objects(ctx context.Context, versions string) error {
	root := filepath.Join(t.build, "objects")
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	sources, err := filepath.Glob(filepath.Join(t.root, "bpf/*.bpf.c"))
	if err != nil {
		return err
	}
	for version := range strings.FieldsSeq(versions) {
		dir := filepath.Join(root, "clang"+version)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for _, source := range sources {
			name := strings.TrimSuffix(filepath.Base(source), ".bpf.c")
			if name == "maps" { // no program
				continue
			}
			object := filepath.Join(dir, name+".o")
			err := t.run(ctx, t.root, "clang-"+version, "-target", "bpf", "-D__TARGET_ARCH_x86", "-O2", "-g", "-Wall", "-Werror",
				"-mcpu=v3", "-I/usr/include/x86_64-linux-gnu", "-c", source, "-o", object)
			if err = errors.Join(err, t.run(ctx, t.root, "llvm-strip-"+version, "-g", object)); err != nil {
				return fmt.Errorf("compile with clang %s: %w", version, err)
			}
		}
	}
	return nil
}
