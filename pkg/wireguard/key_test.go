package wireguard

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// RFC 7748, section 6.1: the key pair of Alice.
func TestPublic(t *testing.T) {
	b, err := hex.DecodeString("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	must(t, err)
	public := PrivateKeyOf([keyLength]byte(b)).Public()
	if got, want := hex.EncodeToString(public[:]), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"; got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
	if !(PrivateKey{}).Public().IsZero() {
		t.Error("no private key has a public key")
	}
}

// holds tells in which forms a text holds a key.
func holds(text string, key PrivateKey) (forms []string) {
	b := key.Reveal()
	for form, is := range map[string]string{
		"bytes": string(b[:]), "hex": hex.EncodeToString(b[:]), "HEX": strings.ToUpper(hex.EncodeToString(b[:])),
		"base64": base64.RawStdEncoding.EncodeToString(b[:]), "decimal": strings.Trim(fmt.Sprint(b), "[]"),
		"decimal list": strings.Trim(strings.Join(strings.Fields(fmt.Sprint(b)), ","), "[]"),
		"Go":           strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b[:]), "[]byte{"), "}"),
	} {
		if strings.Contains(text, is) {
			forms = append(forms, form)
		}
	}
	return forms
}

// Nothing that prints, logs or marshals a private key, or what holds one, shows it.
func TestPrivateKeysAreNotShown(t *testing.T) {
	key := NewPrivateKey()
	shared := PresharedKeyOf(key.Reveal())
	device := Device{Name: "zwacme", PrivateKey: key, Peers: []Peer{{PublicKey: key.Public(), PresharedKey: shared}}}
	change := Difference(Status{}, device, nil, now)
	values := []any{key, &key, shared, device, &device, []PrivateKey{key}, map[string]PrivateKey{"a": key}, change,
		Access{PrivateKey: key}, struct{ Key any }{key}, fmt.Errorf("with %v", key), device.Check(), change.Lines()}
	var out bytes.Buffer
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%b", "%o", "%e", "%U", "%t", "%p"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", v)
		}
		_, _ = fmt.Fprintln(&out, v)
		text, err := json.Marshal(v)
		_, _ = fmt.Fprintln(&out, string(text), err)
		slog.New(slog.NewTextHandler(&out, nil)).Info("key", "key", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "key", v)
		text, err = yaml.Marshal(v)
		_, _ = fmt.Fprintln(&out, string(text), err)
	}
	if forms := holds(out.String(), key); len(forms) > 0 {
		t.Errorf("the key is there as %v", forms)
	}
	if n := strings.Count(out.String(), hidden); n < 100 {
		t.Errorf("%q is there %d times: was it printed at all?", hidden, n)
	}
	// The test would have seen it.
	for _, text := range []string{fmt.Sprint(key.Reveal()), fmt.Sprintf("%x", key.Reveal()), key.text(), fmt.Sprintf("%#v", key.Reveal())} {
		if len(holds(text, key)) == 0 {
			t.Errorf("%s was not recognized", "a key in some form")
		}
	}
	var read PrivateKey
	if err := json.Unmarshal([]byte(`"(private)"`), &read); err == nil {
		t.Error("a private key was read from JSON")
	}
}

func TestPublicKeyText(t *testing.T) {
	key := NewPrivateKey().Public()
	text, err := json.Marshal(map[PublicKey]PublicKey{key: {}})
	if want := fmt.Sprintf(`{%q:""}`, key); err != nil || string(text) != want {
		t.Errorf("marshalled as %s, %v; want %s", text, err, want)
	}
	var back map[PublicKey]PublicKey
	if err := json.Unmarshal(text, &back); err != nil || len(back) != 1 || back[key] != (PublicKey{}) {
		t.Errorf("read back as %v, %v", back, err)
	}
	for _, wrong := range []string{"", "AAAA", nobody.String(), key.String() + "=", key.String()[1:], "x" + key.String()[1:43] + "*", strings.Repeat("A", 43) + "\n="} {
		if _, err := ParsePublicKey(wrong); err == nil {
			t.Errorf("%q was taken for a key", wrong)
		}
	}
}

func openKeys(t *testing.T) (*Keys, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	keys, err := OpenKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	return keys, dir
}

func TestKeys(t *testing.T) {
	keys, dir := openKeys(t)
	if _, err := keys.Load("acme"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a key that was never made: %v", err)
	}
	made, err := keys.Make("acme")
	if err != nil || made.IsZero() {
		t.Fatal(made, err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "acme")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
		}
	}
	if again, err := keys.Make("acme"); err != nil || !again.Equal(made) {
		t.Error("the second Make gave another key", err)
	}
	next, err := keys.Make("acme+next")
	if err != nil || next.Equal(made) {
		t.Fatal("another name's key is the same, or", err)
	}
	if there, err := keys.Made(); err != nil || len(there) != 2 || time.Since(there["acme"]) > time.Hour || time.Since(there["acme+next"]) > time.Hour {
		t.Errorf("made: %v, %v", there, err)
	}
	if err := errors.Join(keys.Remove("acme"), keys.Remove("acme"), keys.Remove("acme+next")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Whoever makes a key first makes it for all.
func TestKeysMadeAtOnce(t *testing.T) {
	keys, dir := openKeys(t)
	made := make([]PrivateKey, 16)
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() {
			var err error
			if made[i], err = keys.Make("acme"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range made {
		if !key.Equal(made[0]) {
			t.Fatal("two keys of one name")
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestKeysRefuse(t *testing.T) {
	good := NewPrivateKey().text() + "\n"
	tests := map[string]struct {
		spoil func(t *testing.T, dir, path string)
		says  string
	}{
		"others may read": {func(t *testing.T, _, path string) { must(t, os.Chmod(path, 0o640)) }, "mode 0640"},
		"cut short":       {func(t *testing.T, _, path string) { must(t, os.WriteFile(path, []byte(good[:20]), 0o600)) }, "32 bytes in base64"},
		"too long":        {func(t *testing.T, _, path string) { must(t, os.WriteFile(path, []byte(good+good), 0o600)) }, "32 bytes in base64"},
		"a link to a key": {func(t *testing.T, dir, path string) {
			must(t, os.Rename(path, dir+"/x"))
			must(t, os.Symlink("x", path))
		}, "too many levels"},
		"a directory": {func(t *testing.T, _, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) }, "no regular file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keys, dir := openKeys(t)
			key, err := keys.Make("acme")
			must(t, err)
			test.spoil(t, dir, filepath.Join(dir, "acme"))
			for _, load := range []func(string) (PrivateKey, error){keys.Load, keys.Make} {
				_, err = load("acme")
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Fatalf("error %v; want one with %q", err, test.says)
				}
				if forms := holds(err.Error(), key); len(forms) > 0 || strings.Contains(err.Error(), good[:20]) {
					t.Error("the error shows the key")
				}
			}
		})
	}
	keys, dir := openKeys(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".new-1"} {
		if _, err := keys.Make(name); err == nil {
			t.Errorf("a key was named %q", name)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, newKey+"123"), []byte(good[:9]), 0o600))
	_, err := OpenKeys(dir)
	must(t, err)
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a half-written key stayed: %v", left)
	}
	must(t, os.Chmod(dir, 0o750))
	if _, err := OpenKeys(dir); err == nil || !strings.Contains(err.Error(), "mode 0750") {
		t.Errorf("a directory that others may enter: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
