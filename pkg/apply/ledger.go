package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// ledger notes what cannot be read back from the kernel: what the versions in the
// maps were made from, and what sysctls were before. It is as old as the kernel's
// own state, so it lies in the runtime directory. Without it policies are written
// again under new versions, and nothing else happens.
type ledger struct {
	path     string
	Policies map[uint32]version `json:"policies"` // by network id
	Lockdown version            `json:"lockdown"`
	Trial    version            `json:"trial"`
	Contents map[uint32]content `json:"contents"` // what was read of the policies then
	Sysctls  map[string]string  `json:"sysctls"`  // value before ours
}

// version is a version of entries in the maps, and a digest of what they say.
type version struct {
	Number uint32 `json:"number"`
	Digest string `json:"digest"`
}

func openLedger(dir string, log *slog.Logger) (*ledger, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the ledger of what is applied: %w", err)
	}
	l := &ledger{path: filepath.Join(dir, "applied.json")}
	data, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the ledger of what is applied: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(data, l); err != nil {
			log.Warn("the ledger of what is applied cannot be read, starting a new one", "file", l.path, "error", err)
			*l = ledger{path: l.path}
		}
	}
	if l.Policies == nil {
		l.Policies = map[uint32]version{}
	}
	if l.Contents == nil {
		l.Contents = map[uint32]content{}
	}
	if l.Sysctls == nil {
		l.Sysctls = map[string]string{}
	}
	return l, nil
}

// save writes the ledger whole, or leaves the old one.
func (l *ledger) save() error {
	data, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return fmt.Errorf("write the ledger of what is applied: %w", err)
	}
	next := l.path + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("write the ledger of what is applied: %w", err)
	}
	if err := os.Rename(next, l.path); err != nil {
		return fmt.Errorf("write the ledger of what is applied: %w", err)
	}
	return nil
}
