package guest

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"time"
)

// Accelerator is QEMU's way to run a guest's instructions.
type Accelerator struct {
	Name string // "kvm" or "tcg"
	Why  string
}

var virtualization = regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`)

// ChooseAccelerator takes KVM where it works: the processor has the means and
// a guest comes up. That /dev/kvm can be opened says nothing: it may be there
// for paravirtual guests only, which hang on some instructions.
func ChooseAccelerator(ctx context.Context, try Guest) Accelerator {
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !virtualization.Match(cpu) {
		return Accelerator{"tcg", "the processor shows neither vmx nor svm"}
	}
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return Accelerator{"tcg", err.Error()}
	}
	_ = device.Close()
	try.Accelerator, try.Limit = Accelerator{Name: "kvm"}, 30*time.Second
	if result := try.Run(ctx, nil); result.Err != nil {
		return Accelerator{"tcg", fmt.Sprintf("a guest under KVM did not come up: %v", result.Err)}
	}
	return Accelerator{"kvm", "a guest came up under it"}
}

// arguments of QEMU. Every processor feature that there is: Go and the kernel's
// JIT make use of them, also when they are emulated.
func (a Accelerator) arguments() []string {
	if a.Name == "kvm" {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,thread=single", "-cpu", "max"}
}
