package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/controlplane"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/resolver"
)

// Uninstalled is what Uninstall took out of the kernel, and what it left.
type Uninstalled struct {
	Removed []string
	Stays   []string
}

// Uninstall takes out of the kernel what the daemon of a node.yaml made, with the
// links and namespaces of networks or without. It refuses while the daemon runs, for
// that would make everything again, and gives a *NodeError for a node.yaml that
// cannot be used. What was done before an error is told as well.
func Uninstall(nodeFile string, networks bool, log io.Writer) (u Uninstalled, err error) {
	node, err := readNode(nodeFile)
	if err != nil {
		return u, err
	}
	held, err := lockDirectories(node)
	if locked := (*registry.LockedError)(nil); errors.As(err, &locked) {
		return u, fmt.Errorf("uninstall: the daemon of %s runs: stop it first (systemctl disable --now zosnet zosnet-early)", node.StateDir)
	}
	if err != nil {
		return u, fmt.Errorf("uninstall: %w", err)
	}
	defer held.release()
	logger := slog.New(slog.NewTextHandler(log, nil))
	ended := resolver.Open(filepath.Join(node.RunDir, resolversDir), logger).Settle(nil)
	changes, err := apply.Remove(apply.Removal{BPFFS: node.BPFFS, RunDir: node.RunDir, Networks: networks, Log: logger})
	err = errors.Join(err, ended)
	for _, c := range changes {
		u.Removed = append(u.Removed, c.String())
	}
	gone, left := controlplane.Remove(node, logger)
	u.Removed, err = append(u.Removed, gone...), errors.Join(err, left)
	u.Stays = []string{
		nodeFile,
		node.StateDir + ": networks, workloads, allocations, learned addresses; a daemon that starts again makes all of it anew",
	}
	if !networks {
		u.Stays = append(u.Stays, "bridges, workloads' interfaces (down) and pause namespaces: --networks removes them")
	}
	return u, err
}
