// Package maps gives typed access to the datapath's maps: the Go side of every
// struct, enum and constant in bpf/lib, generated from C, and reads and writes of
// each map in whole steps (a policy version, a lockdown version, a binding).
//
// It must not know documents, links or programs: it turns values into entries and
// entries into values.
package maps

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -output-stem maps -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type drop_reason -type event_kind -type hook -type flow_state -type flow_share -type hop_kind -type network_flag -type port_kind -type prefix_kind -type policy_dimension -type limit -type event -type address -type mac -type next_hop -type flow_end -type counter -type lockdown_range -type packet bpf ../../bpf/maps.bpf.c
