// Package bench measures the datapath's programs one by one, with packets made in
// memory (BPF_PROG_TEST_RUN), as multiples of an empty program that is measured
// in turns with them.
//
// It loads the programs and fills the maps the way the daemon does, and must not
// know how either works inside.
package bench

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type context -type feed bench bpf/bench.bpf.c
