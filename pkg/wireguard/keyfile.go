package wireguard

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Keys is a directory of private keys, one file each: base64 and a newline, as
// `wg genkey` prints it. The directory is its owner's alone (0700), and so is each
// file (0600).
type Keys struct{ dir string }

// newKey begins the names of files that are not whole yet.
const newKey = ".new-"

// OpenKeys makes the directory where it is missing, and refuses one that others
// may enter. What a crash left half written goes.
func OpenKeys(dir string) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for private keys: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the directory of private keys: %w", err)
	}
	if err := closed(dir, info, "chmod 700 it, and look at who has been there"); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, newKey+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove a key that was never whole: %w", err)
		}
	}
	return &Keys{dir}, nil
}

// closed refuses what others than this user may read.
func closed(path string, info fs.FileInfo, advice string) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o, so others may read private keys: %s", path, mode, advice)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d and not to this one, so others may read private keys: chown it", path, stat.Uid)
	}
	return nil
}

func (k *Keys) path(name string) (string, error) {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("%q cannot be the name of a key", name)
	}
	return filepath.Join(k.dir, name), nil
}

// Load reads a key; fs.ErrNotExist where there is none. A file that others may read
// is refused: the key in it may be known.
func (k *Keys) Load(name string) (PrivateKey, error) {
	path, err := k.path(name)
	if err != nil {
		return PrivateKey{}, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read a private key: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read a private key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return PrivateKey{}, fmt.Errorf("private key %s is no regular file: remove it", path)
	}
	if err := closed(path, info, "remove it, and a new key is made"); err != nil {
		return PrivateKey{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, 128))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read a private key: %w", err)
	}
	b, err := decode(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		// Without what was read: it may be most of a key.
		return PrivateKey{}, fmt.Errorf("private key %s: %w, as wg genkey prints: remove it, and a new key is made", path, err)
	}
	return PrivateKeyOf(b), nil
}

// Make loads a key, and makes it first where there is none.
func (k *Keys) Make(name string) (PrivateKey, error) {
	key, err := k.Load(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	path, err := k.path(name)
	if err != nil {
		return PrivateKey{}, err
	}
	key = NewPrivateKey()
	temporary, err := k.write(key)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make private key %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temporary) }()
	// A link never replaces: who comes second takes the first one's key.
	if err := os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
		return k.Load(name)
	} else if err != nil {
		return PrivateKey{}, fmt.Errorf("make private key %s: %w", path, err)
	}
	return key, k.sync()
}

// write gives the path of a new file with the key in it, on disk.
func (k *Keys) write(key PrivateKey) (path string, err error) {
	file, err := os.CreateTemp(k.dir, newKey) // 0600
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(key.text() + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// Made gives when each key there is was made, by its name.
func (k *Keys) Made() (map[string]time.Time, error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return nil, fmt.Errorf("list private keys: %w", err)
	}
	made := make(map[string]time.Time, len(entries))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("look at private key %s: %w", entry.Name(), err)
		}
		made[entry.Name()] = info.ModTime()
	}
	return made, nil
}

// Remove removes a key. One that is not there is no error.
func (k *Keys) Remove(name string) error {
	path, err := k.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a private key: %w", err)
	}
	return k.sync()
}

func (k *Keys) sync() error {
	dir, err := os.Open(k.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
