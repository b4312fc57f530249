package userspace

import (
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
)

// linesAMinute bounds what a device may log: wireguard-go has a line for every
// packet that could not be sent.
const linesAMinute = 20

// wireguardLog takes wireguard-go's errors, and not what it tells of its work.
func wireguardLog(log *slog.Logger, name string) *device.Logger {
	l := &lines{log: log.With("interface", name)}
	return &device.Logger{Verbosef: device.DiscardLogf, Errorf: l.errorf}
}

type lines struct {
	log *slog.Logger

	mu     sync.Mutex
	minute time.Time
	count  int
}

func (l *lines) errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.minute) > time.Minute {
		if more := l.count - linesAMinute; more > 0 {
			l.log.Error("not logged", "lines", more)
		}
		l.minute, l.count = now, 0
	}
	if l.count++; l.count <= linesAMinute {
		l.log.Error(withoutKeys(fmt.Sprintf(format, args...)))
	}
}

// keylike is what may be a key or most of one, in hex or base64: wireguard-go quotes
// a line of configuration that it cannot read.
var keylike = regexp.MustCompile(`[0-9A-Za-z+/=]{24,}`)

func withoutKeys(text string) string { return keylike.ReplaceAllString(text, "(key)") }
