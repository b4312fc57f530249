package registry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// What etcd calls an error although it mends itself is not passed on; everything
// else is.
func TestEtcdErrors(t *testing.T) {
	noTerm := errors.New("cannot detect storage schema version: missing term information")
	for _, tt := range []struct {
		message string
		err     error
		passed  bool
	}{
		{"failed to update storage version", noTerm, false},
		{"failed to update storage version", errors.New("disk on fire"), true},
		{"another", noTerm, true},
	} {
		var log bytes.Buffer
		newEtcdLogger(slog.New(slog.NewTextHandler(&log, nil)), newFailure(t.TempDir())).Error(tt.message, zap.Error(tt.err))
		if got := strings.Contains(log.String(), tt.message); got != tt.passed {
			t.Errorf("%s: %v: passed on: %v, want %v\n%s", tt.message, tt.err, got, tt.passed, log.String())
		}
	}
}
