package trust_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

// forms gives every form in which a secret would be recognised.
func forms(secret []byte) []string {
	return []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.StdEncoding.EncodeToString(secret)[:len(secret)], base64.RawURLEncoding.EncodeToString(secret)[:len(secret)],
		strings.Trim(fmt.Sprintf("%d", secret), "[]"), strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}")}
}

// What holds a secret shows it nowhere: no verb of fmt, no log, no JSON; neither
// itself nor where it is a part of something.
func TestSecretsDoNotPrint(t *testing.T) {
	ca, node, owner, token := newGrid(t).ca, must(trust.NewNodeKey()), must(trust.NewOwnerKey()), newToken()
	tokenBody := must(base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Reveal(), trust.TokenPrefix)))
	peer := token.PeerPrivateKey()
	holders := []struct {
		name    string
		value   any
		secrets [][]byte
	}{
		{"CA", ca, [][]byte{scalar(must(ca.KeyPEM()))}},
		{"node key", node, [][]byte{scalar(must(node.PEM()))}},
		{"owner key", owner, [][]byte{scalar(must(owner.PEM()))}},
		{"token", token, [][]byte{tokenBody[:32], peer[:], []byte(token.Secret())}},
	}
	for _, h := range holders {
		t.Run(h.name, func(t *testing.T) {
			var out bytes.Buffer
			logs := []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))}
			exported := struct{ Inner any }{h.value}
			hidden := struct{ inner any }{h.value}
			for _, v := range []any{h.value, exported, &exported, hidden, &hidden, []any{h.value}, map[string]any{"k": h.value}, fmt.Errorf("failed with %v", h.value)} {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%T"} {
					fmt.Fprintf(&out, verb+"\n", v)
				}
				for _, log := range logs {
					log.Info("message", "value", v)
				}
				if text, err := json.Marshal(v); err == nil {
					out.Write(text)
				}
			}
			if out.Len() < 1000 || !strings.Contains(out.String(), "("+strings.Fields(h.name)[0]) && h.name != "token" {
				t.Fatalf("the values were not printed:\n%s", out.String())
			}
			for _, secret := range h.secrets {
				for _, form := range forms(secret) {
					if strings.Contains(out.String(), form) {
						t.Errorf("shows its secret as %q", form[:8])
					}
				}
			}
		})
	}
}

// scalar gives the private number of a key in PKCS #8. It follows the last
// OCTET STRING of 32 bytes (RFC 5915, RFC 8410).
func scalar(text []byte) []byte {
	body := strings.Split(strings.TrimSpace(string(text)), "\n")
	der := must(base64.StdEncoding.DecodeString(strings.Join(body[1:len(body)-1], "")))
	at := bytes.Index(der, []byte{4, 32})
	if at < 0 {
		panic("no private number in the key")
	}
	return der[at+2 : at+34]
}

// What the node that invites stores, and what it shows of it, cannot be used.
func TestPendingTokenHoldsNoSecret(t *testing.T) {
	token := newToken()
	peer := token.PeerPrivateKey()
	body := must(base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Reveal(), trust.TokenPrefix)))
	stored := string(must(json.Marshal(token.Pending()))) + fmt.Sprintf("%+v", token.Pending())
	for _, secret := range [][]byte{body[:32], peer[:], []byte(token.Secret())} {
		for _, form := range forms(secret) {
			if strings.Contains(stored, form) {
				t.Errorf("a pending token shows the secret as %q", form[:8])
			}
		}
	}
}

// What is no key is not repeated in an error: it may be another key.
func TestErrorsDoNotRepeatKeys(t *testing.T) {
	owner := must(must(trust.NewOwnerKey()).PEM())
	node := must(must(trust.NewNodeKey()).PEM())
	var errs []error
	add := func(err error) {
		if err == nil {
			t.Error("a key of another kind was taken")
		}
		errs = append(errs, err)
	}
	for _, text := range [][]byte{owner, node} {
		_, err := trust.ParseToken(string(text))
		add(err)
		_, err = trust.ParseOwner(string(text))
		add(err)
		_, err = trust.ParseRoots(text)
		add(err)
		_, err = trust.ParseRequest(text)
		add(err)
		_, err = trust.ParseNodeKey(bytes.Replace(text, []byte("M"), []byte("N"), 2))
		add(err)
	}
	_, err := trust.ParseNodeKey(owner)
	add(err)
	_, err = trust.ParseOwnerKey(node)
	add(err)
	all := fmt.Sprintf("%v %+v %#v", errs, errs, errs)
	for _, text := range [][]byte{owner, node} {
		for _, line := range strings.Split(string(text), "\n") {
			if len(line) > 20 && !strings.Contains(line, "PRIVATE KEY") && strings.Contains(all, line[:20]) {
				t.Errorf("an error repeats the key: %s", all)
			}
		}
	}
}

func TestPrivateFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "owner.key")
	if err := trust.WritePrivate(path, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if info := must(os.Stat(path)); info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if got := must(trust.ReadPrivate(path)); string(got) != "secret" {
		t.Errorf("got %q", got)
	}
	refused(t, trust.WritePrivate(path, []byte("other")), fs.ErrExist)
	if got := must(os.ReadFile(path)); string(got) != "secret" {
		t.Error("a key was overwritten")
	}
	link := filepath.Join(dir, "link.key")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	refused(t, trust.WritePrivate(link, []byte("x")), fs.ErrExist)
	refused(t, trust.WritePrivate(filepath.Join(dir, "none", "x"), nil), fs.ErrNotExist)
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o644, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := trust.ReadPrivate(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := trust.ReadPrivate(dir); err == nil {
		t.Error("a directory is read as a key")
	}
}
