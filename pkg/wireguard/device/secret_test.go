package device

import (
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

func (s *scene) remember(key wireguard.PrivateKey) {
	for _, k := range s.keys {
		if k.Equal(key) {
			return
		}
	}
	s.keys = append(s.keys, key)
}

// searchKeys ends every test: no private key is in what was logged, in what is kept
// (its own file apart), or in how a process was started.
func (s *scene) searchKeys() {
	s.log.mu.Lock()
	s.search("the log", s.log.text.String())
	s.log.mu.Unlock()
	for _, n := range s.nodes {
		err := filepath.WalkDir(n.dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || filepath.Base(filepath.Dir(path)) == "keys" {
				return err
			}
			text, err := os.ReadFile(path)
			s.search(path, string(text))
			return err
		})
		if err != nil {
			s.t.Error(err)
		}
	}
	for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			s.t.Error(err)
		}
		for _, path := range paths {
			text, _ := os.ReadFile(path) // a process may be gone meanwhile
			s.search(path, string(text))
		}
	}
}

func (s *scene) search(where, text string) {
	for _, key := range s.keys {
		b := key.Reveal()
		for _, form := range []string{string(b[:]), hex.EncodeToString(b[:]), base64.RawStdEncoding.EncodeToString(b[:])} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
				s.t.Errorf("a private key is in %s", where)
			}
		}
	}
}
