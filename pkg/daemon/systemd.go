package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"golang.org/x/sys/unix"
)

// stuckAfter is how long one enforcement may run before the watchdog hears that
// the daemon hangs.
const stuckAfter = 2 * time.Minute

// supervisor tells the service manager how the daemon is (sd_notify(3)). Without
// one it says nothing.
type supervisor struct{ log *slog.Logger }

func (s supervisor) notify(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		s.log.Warn("tell the service manager", "error", err)
	}
}

func (s supervisor) ready(status string) { s.notify(sd.SdNotifyReady + "\nSTATUS=" + status) }
func (s supervisor) stopping()           { s.notify(sd.SdNotifyStopping) }

// reloading needs the time of the request, by the clock of Type=notify-reload.
func (s supervisor) reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // fails for unknown clocks only
	s.notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", sd.SdNotifyReloading, now.Nano()/1000))
}

// watch feeds the watchdog while the daemon is alive.
func (s supervisor) watch(ctx context.Context, alive func() bool) error {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return err
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		if alive() {
			s.notify(sd.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
