package grid_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/trust"
)

// Everything that joining logs, says, stores and returns, searched for what must
// not be in it: also when it goes wrong.
func TestNoSecretLeavesJoining(t *testing.T) {
	in := newInviter(t).serve(t)
	token, refused := in.token(), in.token()
	n2 := candidate("n2")
	var out strings.Builder
	say := func(v any) {
		text, _ := json.Marshal(v)
		fmt.Fprintf(&out, "%v\n%+v\n%#v\n%s\n", v, v, v, text)
	}
	m, err := join(t, token, n2)
	say(err)
	say(m)
	for _, name := range []string{"n2", "n1", "not a name"} {
		_, err := join(t, refused, candidate(name))
		say(err)
	}
	_, err = join(t, token, candidate("n3"))
	say(err)
	say(in.tokens)
	say(n2)
	say(token)
	say(grid.Guests(token))
	say(in.service)
	say(in.nodes)
	for _, body := range []string{"", "{", `{"secret":"` + token.Secret() + `"}`, `{"id":"` + token.ID() + `","secret":"` + token.Secret() + `","request":"x"}`,
		token.Reveal(), `{"secret":["` + token.Secret() + `"]}`} {
		out.WriteString(post(t, in, "/v1/join", body))
	}
	out.WriteString(post(t, in, "/"+token.Secret()[:4], token.Secret()))
	out.WriteString(in.log.text())

	peer := token.PeerPrivateKey()
	raw := must(base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Reveal(), trust.TokenPrefix)))
	secrets := map[string][]byte{
		"token's seed": raw[:32], "token's secret": []byte(token.Secret()), "refused token's secret": []byte(refused.Secret()),
		"token's WireGuard key": peer[:], "node's key": scalar(must(n2.Key.PEM())), "CA's key": scalar(must(in.ca.KeyPEM())),
	}
	shown := out.String()
	if !strings.Contains(shown, "node joined") || !strings.Contains(shown, `"reason":"malformed"`) || len(shown) < 5000 {
		t.Fatalf("there is not much to search in:\n%s", shown)
	}
	for name, secret := range secrets {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)[:40],
			base64.RawURLEncoding.EncodeToString(secret)[:40], strings.Trim(fmt.Sprint(secret), "[]")} { //nolint:staticcheck // as a list of numbers
			if at := strings.Index(shown, form); at >= 0 {
				t.Errorf("the %s is shown: …%.60q…", name, shown[max(0, at-30):])
			}
		}
	}
}

// scalar gives the private number of a P-256 key in PKCS #8 (RFC 5915).
func scalar(text []byte) []byte {
	block, _ := pem.Decode(text)
	at := bytes.Index(block.Bytes, []byte{4, 32})
	return block.Bytes[at+2 : at+34]
}

// post says something to the service that no client of ours would.
func post(t *testing.T, in *inviter, path, body string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Post("https://"+in.address.String()+path, "application/json", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // only read
	text := must(io.ReadAll(response.Body))
	if response.StatusCode == http.StatusOK {
		t.Errorf("%s %.40q is answered with %s", path, body, text)
	}
	return fmt.Sprintln(response.Status, string(text))
}

// What a stranger who got as far as the service can say.
func TestServiceRefuses(t *testing.T) {
	in := newInviter(t).serve(t)
	token := in.token()
	request := must(candidate("n2").Key.Request("n2", trust.ControlKey{2}))
	message := func(id, secret, request string) string {
		return string(must(json.Marshal(map[string]string{"id": id, "secret": secret, "request": request})))
	}
	large := strings.Repeat("x", 65<<10)
	guessed := post(t, in, "/v1/join", message(token.ID(), token.Secret()[1:]+"A", string(request)))
	for _, test := range []struct{ name, path, body, want string }{
		{"a guessed secret", "/v1/join", message(token.ID(), "", string(request)), guessed},
		{"an unknown token", "/v1/join", message("0000000000000000", token.Secret(), string(request)), guessed},
		{"no token", "/v1/join", message("", "", string(request)), guessed},
		{"no request", "/v1/join", message(token.ID(), token.Secret(), ""), "400"},
		{"not JSON", "/v1/join", "join me", "400"},
		{"too large", "/v1/join", message(token.ID(), token.Secret(), large), "400"},
		{"renewal without a certificate", "/v1/renew", message("", "", string(request)), "403"},
		{"another page", "/metrics", "", "404"},
		{"a way around", "/v1/../v1/join/", "", "404"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := post(t, in, test.path, test.body); !strings.HasPrefix(got, test.want) {
				t.Errorf("answered %q, want %q", got, test.want)
			}
		})
	}
	if !strings.HasPrefix(guessed, "403") || len(in.nodes) != 1 || in.tokens[token.ID()].Used != nil {
		t.Errorf("%q, %d nodes", guessed, len(in.nodes))
	}
	conn, err := tls.Dial("tcp", in.address.String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		_ = conn.Close()
		t.Error("it speaks TLS 1.2")
	}
}
