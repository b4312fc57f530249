package resolver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// namespaceConfigs is where ip-netns(8) looks for the files that it puts in the
// place of those in /etc: NAME/resolv.conf.
const namespaceConfigs = "/etc/netns"

// configs are the resolv.conf(5) files of pause namespaces. Several daemons may
// share the directory, so that each records which are its own.
type configs struct {
	dir    string
	record string // path: a name a line
}

func (c configs) path(namespace string) string {
	return filepath.Join(c.dir, namespace, "resolv.conf")
}

// settle writes the files that are wanted and removes those that are not any more.
// A file that somebody else made stays as it is.
func (c configs) settle(wanted []Served) error {
	files := map[string][]byte{}
	var names []string
	for _, s := range wanted {
		for _, name := range s.Namespaces {
			files[name] = ResolvConf(s.Network, s.Address)
			names = append(names, name)
		}
	}
	slices.Sort(names)
	recorded, err := c.recorded()
	if err != nil {
		return err
	}
	same := slices.Equal(recorded, names)
	if !same { // what is about to be made is recorded before it is there
		if err := c.note(append(slices.Clone(recorded), names...)); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, c.put(name, files[name]))
	}
	for _, name := range recorded {
		if files[name] == nil {
			errs = append(errs, c.remove(name))
		}
	}
	if err := errors.Join(errs...); err != nil || same {
		return err
	}
	return c.note(names)
}

func (c configs) recorded() ([]string, error) {
	text, err := os.ReadFile(c.record)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read which namespaces have a resolv.conf: %w", err)
	}
	return strings.Fields(string(text)), nil
}

func (c configs) note(names []string) error {
	slices.Sort(names)
	text := strings.Join(slices.Compact(names), "\n")
	if err := replace(filepath.Dir(c.record), filepath.Base(c.record), []byte(text)); err != nil {
		return fmt.Errorf("note which namespaces have a resolv.conf: %w", err)
	}
	return nil
}

func (c configs) put(name string, text []byte) error {
	have, err := os.ReadFile(c.path(name))
	if err == nil && !bytes.HasPrefix(have, []byte(madeHere)) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.path(name)), 0o755); err != nil {
		return fmt.Errorf("make the resolv.conf of namespace %s: %w", name, err)
	}
	if err := replace(filepath.Dir(c.path(name)), "resolv.conf", text); err != nil {
		return fmt.Errorf("make the resolv.conf of namespace %s: %w", name, err)
	}
	return nil
}

func (c configs) remove(name string) error {
	have, err := os.ReadFile(c.path(name))
	if errors.Is(err, os.ErrNotExist) || err == nil && !bytes.HasPrefix(have, []byte(madeHere)) {
		return nil
	}
	if err == nil {
		err = os.Remove(c.path(name))
	}
	if err != nil {
		return fmt.Errorf("remove the resolv.conf of namespace %s: %w", name, err)
	}
	_ = os.Remove(filepath.Dir(c.path(name))) // stays where somebody has put more into it
	return nil
}
