package guest

import (
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/zosnet/zosnet/tools/vmtest/job"
)

// console keeps what a guest prints on its serial port.
type console struct {
	mu   sync.Mutex
	text strings.Builder
	also io.Writer
}

func newConsole(show bool) *console {
	if show {
		return &console{also: os.Stdout}
	}
	return &console{also: io.Discard}
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.also.Write(p)
	return c.text.Write(p)
}

func (c *console) Close() error { return nil }

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.ReplaceAll(c.text.String(), "\r", "")
}

func (c *console) alive() bool { return strings.Contains(c.String(), job.Alive) }

// attachTerminal hands what is typed here to the guest, until the function that
// it gives is called.
func attachTerminal(to io.Writer) func() {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		go func() { _, _ = io.Copy(to, os.Stdin) }()
		return func() {}
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		return func() {}
	}
	go func() { _, _ = io.Copy(to, os.Stdin) }()
	return func() { _ = term.Restore(in, before) }
}
