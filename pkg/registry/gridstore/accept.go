package gridstore

import (
	"errors"

	"github.com/zosnet/zosnet/pkg/trust"
)

// errAgain ends following so that everything is read and judged again.
var errAgain = errors.New("everything is to be judged again")

// SetAccept says whose networks this node carries from now on. What was refused only
// because it was not accepted is judged again. A document that was believed stays as
// it is; its owner's next one is refused if it is not accepted any more.
func (c *Client) SetAccept(a trust.Accept) {
	c.mu.Lock()
	c.state.accept = a
	c.mu.Unlock()
	notify(c.again)
}

// Away says why the registry cannot be followed now; nil: it is, or nothing was
// tried yet.
func (c *Client) Away() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// setAway notes why the registry cannot be followed, and gives what was known before.
func (c *Client) setAway(err error) (before error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, c.away = c.away, err
	return before
}
