package apply

import (
	"context"
	"errors"
	"log/slog"

	"github.com/zosnet/zosnet/pkg/loader"
)

// Early locks the machine before any address answers, as loader.Early does, and keeps
// the ARP of its uplinks to themselves, as every Apply does. What the sysctls were is
// noted in runDir, so that a later Remove gives it back. One of the two that fails
// does not keep the other from being done. Running it again, or beside an Applier,
// opens nothing.
func Early(options loader.EarlyOptions, runDir string) error {
	return errors.Join(loader.Early(options), earlyARP(options.Uplinks, runDir, options.Log))
}

func earlyARP(uplinks []string, runDir string, log *slog.Logger) error {
	ledger, err := openLedger(runDir, log)
	if err != nil {
		return err
	}
	links, err := readLinks()
	if err != nil {
		return err
	}
	p := &pass{ctx: context.Background(), Applier: &Applier{ledger: ledger}, made: map[string]bool{}, failed: map[string]bool{}}
	p.uplinks, _ = links.uplinks(uplinks)
	p.keepARP()
	return errors.Join(p.errs...)
}
