package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/tools/vmtest/job"
	"github.com/zosnet/zosnet/tools/vmtest/module"
)

// around is what a guest may need besides its tests: to boot and to switch off.
const around = 3 * time.Minute

// choose gives the groups that RUN matches: a package, or a test of it, such as
// pkg/loader or TestRemove or pkg/loader/TestRemove.
func choose(all []group, run string) ([]group, error) {
	if run == "" {
		list := slices.DeleteFunc(slices.Clone(all), func(g group) bool { return g.named })
		for i, g := range list {
			if g.usual != "" {
				list[i].run = g.usual
			}
		}
		return list, nil
	}
	all = slices.Clone(all)
	for i := range all {
		all[i].also = nil // what RUN names is the same on every kernel
		if all[i].boot == nil {
			all[i].only = ""
		}
	}
	pattern, err := regexp.Compile(run)
	if err != nil {
		return nil, fmt.Errorf("RUN: %w", err)
	}
	var list []group
	for _, g := range all {
		if pattern.MatchString(g.pkg) {
			list = append(list, g)
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	// It names tests: every package is asked, those that have none say so.
	for _, g := range all {
		name := run
		rest, ok := strings.CutPrefix(run, g.pkg+"/")
		if ok {
			list, name = nil, rest
		}
		if g.boot != nil { // one boot without the other is nothing
			continue
		}
		g.run = name
		list = append(list, g)
		if ok {
			return list, nil
		}
	}
	return list, nil
}

// wanted gives the groups for a kernel.
func wanted(k fetched, groups []group) []group {
	var list []group
	for _, g := range groups {
		if k.refused && !g.refused || g.only != "" && !slices.Contains(strings.Fields(g.only), k.name) {
			continue
		}
		if more := g.also[k.name]; more != "" {
			g.run += "|" + more
		}
		list = append(list, g)
	}
	return list
}

// needed gives the modules that groups need.
func needed(groups []group) []string {
	names := slices.Clone(machineModules)
	for _, g := range groups {
		names = append(names, g.modules...)
	}
	return names
}

// plan makes the job of a kernel's guest, and how long it may take. A module
// that the kernel lacks is an error that names the test which needs it.
func plan(k fetched, groups []group, modules *module.Tree) (job.Job, time.Duration, error) {
	var (
		j       job.Job
		limit   = around
		missing []error
	)
	for _, g := range groups {
		for _, name := range g.modules {
			if !modules.Has(name) {
				missing = append(missing, fmt.Errorf("%s needs the module %s, which %s has not", g.pkg, name, k.Package))
			}
		}
		test := job.Test{Package: g.pkg, Limit: g.limit, Env: append([]string{
			"ZOSNET_NO_SKIP=1", "ZOSNET_BIN=/usr/bin/zosnet", "ZOSNET_VM=1",
		}, g.env...)}
		if g.run != "" {
			test.Args = append(test.Args, "-test.run="+g.run)
		}
		if g.skip != "" {
			test.Args = append(test.Args, "-test.skip="+g.skip)
		}
		j.Tests = append(j.Tests, test)
		if g.boot != nil {
			j.Disk, j.Systemd = !g.boot.systemd, g.boot.systemd
		}
		limit += g.limit
	}
	return j, limit, errors.Join(missing...)
}
