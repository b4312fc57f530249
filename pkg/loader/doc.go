// Package loader puts the datapath's programs into the kernel: it loads them onto
// the maps, pins both, attaches programs to interfaces (XDP; tcx, or clsact where
// the kernel has no tcx) and replaces them without a moment in between. It also
// finds out what the kernel can do, and closes the machine early in a boot.
//
// It must not know documents, networks or policies: it takes interface names and
// hands out maps.
//
// Pins live in BPFFS/maps, BPFFS/progs and BPFFS/links. A link's pin is named
// PROGRAM-INTERFACE, with ':' for the dots that bpffs does not allow.
package loader

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" uplink ../../bpf/uplink.bpf.c
//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" workload ../../bpf/workload.bpf.c
//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" overlay ../../bpf/overlay.bpf.c
//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" sweep ../../bpf/sweep.bpf.c
