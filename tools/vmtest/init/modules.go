package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/tools/vmtest/job"
)

// loadModules loads every module of the job, whose order has what a module
// depends on before it.
func loadModules(modules []job.Module) error {
	for _, m := range modules {
		if err := loadModule(m.Name); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(name string) error {
	file, err := os.Open(filepath.Join(job.ModuleDir, name+".ko"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	err = unix.FinitModule(int(file.Fd()), "", 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	return nil
}

// modprobe is what the kernel calls for a module that it wants. All that was
// packed is loaded already, so it says what was not packed, where the console
// shows it.
func modprobe(args []string) int {
	wanted := ""
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			wanted = strings.ReplaceAll(a, "-", "_")
			break
		}
	}
	text, err := os.ReadFile(job.File)
	var j job.Job
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if err != nil {
		return 1
	}
	for _, m := range j.Modules {
		if m.Name == wanted {
			return 0
		}
		for _, alias := range m.Aliases {
			if ok, _ := path.Match(strings.ReplaceAll(alias, "-", "_"), wanted); ok {
				return 0
			}
		}
	}
	if console, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		_, _ = fmt.Fprintf(console, "vmtest: module %s was asked for and is not packed\n", wanted)
		_ = console.Close()
	}
	return 1
}
