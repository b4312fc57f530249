package gridstore

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// logAtOnce bounds what one snapshot may write into the log.
const logAtOnce = 10

// recall starts from the cache. A broken one is set aside and a new one begun.
func (c *Client) recall() error {
	err := c.recallFrom()
	if err == nil {
		return nil
	}
	if c.cache != nil {
		err = errors.Join(err, c.cache.close())
		c.cache = nil
	}
	if _, broken := errors.AsType[*brokenError](err); !broken {
		return err
	}
	aside := c.cfg.CacheFile + ".broken"
	c.cfg.Log.Error("the cache of the grid's registry is set aside; what the node knew of the grid comes from the registry, "+
		"and until it is reached nothing of the grid is known", "file", c.cfg.CacheFile, "aside", aside, "error", err)
	if err := os.Rename(c.cfg.CacheFile, aside); err != nil {
		return fmt.Errorf("set the broken cache of the grid's registry aside: %w", err)
	}
	c.state = newState(c.state.fresh(), newScope(c.cfg.Node, c.cfg.Peers))
	return c.recallFrom()
}

func (c *Client) recallFrom() error {
	var err error
	if c.cache, err = openCache(c.cfg.CacheFile); err != nil {
		return fmt.Errorf("open the cache of the grid's registry %s: %w", c.cfg.CacheFile, err)
	}
	m, err := c.cache.load(c.state, c.cfg.Node)
	if err != nil {
		return fmt.Errorf("read the cache of the grid's registry %s: %w", c.cfg.CacheFile, err)
	}
	if m.Revision == 0 {
		return nil
	}
	for key, r := range c.state.refused {
		c.state.put(key, r.raw, r.revision)
	}
	c.state.settle()
	c.state.publish()
	clear(c.state.unsaved)
	c.goToMembers()
	c.current = c.state.snapshot
	c.current.Revision, c.current.Source, c.current.Confirmed = m.Revision, SourceCache, m.Confirmed
	c.revision, c.cluster, c.entries, c.recalled = m.Revision, m.Cluster, m.Entries, m.Confirmed
	return nil
}

// save writes the cache. A failure costs nothing but the next start.
func (c *Client) save() {
	if c.cache == nil {
		return
	}
	entries := map[string]int{}
	for bucket, n := range c.entries {
		entries[bucket] = n
	}
	c.mu.Lock()
	carried := c.state.scope.carried
	c.mu.Unlock()
	m := meta{
		Version: formatVersion, Node: c.cfg.Node, Cluster: c.cluster, Revision: c.revision,
		Confirmed: c.current.Confirmed, Entries: entries, Left: c.state.left, Carried: carried,
	}
	err := c.cache.save(c.state, m)
	if err != nil {
		if text := err.Error(); text != c.unsaved {
			c.unsaved = text
			c.cfg.Log.Error("the cache of the grid's registry cannot be written; without the registry the next start would know an older state",
				"file", c.cfg.CacheFile, "error", err)
		}
		return
	}
	clear(c.state.unsaved)
	c.entries, c.saved, c.unsaved = entries, c.now(), ""
}

// logNew says which values are refused that were not before.
func (c *Client) logNew(before []Problem) {
	n := 0
	for _, p := range c.state.snapshot.Problems {
		old := slices.ContainsFunc(before, func(b Problem) bool { return b.Key == p.Key && b.Err.Error() == p.Err.Error() })
		if old {
			continue
		}
		if n++; n <= logAtOnce {
			c.cfg.Log.Warn("a value in the grid's registry is not believed; what was known before stays", "key", p.Key, "error", p.Err)
		}
	}
	if n > logAtOnce {
		c.cfg.Log.Warn("more values in the grid's registry are not believed", "values", n-logAtOnce)
	}
}

func (c *Client) reportAway(err error) {
	if err == nil || errors.Is(err, errAgain) {
		return
	}
	if c.setAway(err) == nil {
		c.cfg.Log.Warn("the grid's registry cannot be followed; the node goes on with what it knows", "endpoints", c.etcd.Endpoints(),
			"confirmed", c.current.Confirmed, "error", err)
	}
}

func (c *Client) reportBack() {
	if c.setAway(nil) != nil {
		c.cfg.Log.Info("the grid's registry is followed again", "revision", c.revision)
	}
}
