package probe

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
)

// Resolve looks a name up as any program on the machine would, by getent(1) with the
// machine's own /etc/resolv.conf, and gives its addresses, sorted and parted by
// spaces; "unknown" for a name that has none.
func Resolve(ctx context.Context, from *lab.Machine, name string) (string, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", filepath.Base(from.Path()), "getent", "ahosts", name)
	out, err := cmd.Output()
	const notFound = 2
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == notFound {
		return "unknown", nil
	}
	if err != nil {
		return "", fmt.Errorf("look %s up on %s: %w", name, from.Name, err)
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		list = append(list, strings.Fields(line)[0])
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " "), nil
}
