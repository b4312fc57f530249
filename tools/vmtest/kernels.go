package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/zosnet/zosnet/tools/vmtest/debian"
)

// kernel is one line of the matrix. Versions rotate in Debian's archive, so a
// metapackage is named, never a version.
type kernel struct {
	name     string // as KERNELS says it
	suite    string
	metapack string
	refused  bool   // zosnet must refuse it, and say why
	sameAs   string // left out where that kernel is of the same version
}

const cloud = "linux-image-cloud-amd64"

var matrix = []kernel{
	{name: "5.10", suite: "bullseye-security", metapack: cloud, refused: true},
	{name: "6.1", suite: "bookworm-security", metapack: cloud},
	{name: "6.12", suite: "bookworm-security", metapack: "linux-image-6.12-cloud-amd64"},
	{name: "backports", suite: "trixie-backports", metapack: cloud},
	{name: "sid", suite: "sid", metapack: cloud, sameAs: "backports"},
}

// chosen gives the lines of the matrix that KERNELS names, all if it is empty.
func chosen(names string) ([]kernel, error) {
	if names == "" {
		return matrix, nil
	}
	var list []kernel
next:
	for name := range strings.FieldsSeq(names) {
		for _, k := range matrix {
			if k.name == name {
				k.sameAs = "" // asked for
				list = append(list, k)
				continue next
			}
		}
		return nil, fmt.Errorf("KERNELS: there is no %q in the matrix (tools/vmtest/kernels.go)", name)
	}
	return list, nil
}

// fetched is a kernel on this machine.
type fetched struct {
	kernel
	*debian.Kernel
}

// fetchKernels fetches kernels, and leaves out those that are the same as another.
func fetchKernels(ctx context.Context, cache string, list []kernel) ([]fetched, error) {
	var all []fetched
next:
	for _, k := range list {
		apt, err := debian.Open(ctx, cache, k.suite)
		if err != nil {
			return nil, err
		}
		files, err := apt.FetchKernel(ctx, k.metapack)
		if err != nil {
			return nil, fmt.Errorf("fetch kernel %s, the %s of Debian's %s: %w", k.name, k.metapack, k.suite, err)
		}
		for _, other := range all {
			if other.name == k.sameAs && upstream(other.Release) == upstream(files.Release) {
				fmt.Printf("vmtest: %s has the kernel of %s, %s\n", k.name, other.name, other.Release)
				continue next
			}
		}
		fmt.Printf("vmtest: kernel %s is %s\n", k.name, files.Package)
		all = append(all, fetched{k, files})
	}
	return all, nil
}

// upstream makes "7.3.4+deb13-cloud-amd64" into "7.3.4".
func upstream(release string) string {
	version, _, _ := strings.Cut(release, "+")
	return version
}
