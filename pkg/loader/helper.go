package loader

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
)

// helperUse is a kernel function that programs of one type call.
type helperUse struct {
	kind     ebpf.ProgramType
	function asm.BuiltinFunc
}

// haveHelpers tries every helper that the programs of this build call, and gives
// their number.
func haveHelpers() (int, error) {
	specs, err := builtIn()
	if err != nil {
		return 0, err
	}
	used := map[helperUse]bool{{ebpf.Syscall, asm.FnForEachMapElem}: true} // pkg/maps counts by it
	for _, spec := range specs {
		for _, program := range spec.Programs {
			for _, ins := range program.Instructions {
				if ins.IsBuiltinCall() {
					used[helperUse{program.Type, asm.BuiltinFunc(ins.Constant)}] = true
				}
			}
		}
	}
	var missing []string
	for use := range used {
		if err := features.HaveProgramHelper(use.kind, use.function); err != nil {
			missing = append(missing, fmt.Sprintf("%s in %s programs: %v", helperName(use.function), use.kind, err))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return len(used), fmt.Errorf("%s", strings.Join(missing, "; "))
	}
	return len(used), nil
}

// helperName turns FnKtimeGetCoarseNs into bpf_ktime_get_coarse_ns.
func helperName(function asm.BuiltinFunc) string {
	var name strings.Builder
	name.WriteString("bpf")
	for _, r := range strings.TrimPrefix(function.String(), "Fn") {
		if unicode.IsUpper(r) {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToLower(r))
	}
	return name.String()
}

// helpers is the feature of haveHelpers.
func helpers() Feature {
	n, err := haveHelpers()
	f := tried("BPF helpers", true, err, newerKernel)
	if err == nil {
		f.Detail = fmt.Sprintf("all %d that the programs call work", n)
	}
	return f
}
