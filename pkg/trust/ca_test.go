package trust_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

func TestCertificateSaysWhoANodeIs(t *testing.T) {
	g := newGrid(t)
	_, pem := g.node("n1", noon)
	id, err := g.roots.Identity("n1", pem)
	if err != nil {
		t.Fatal(err)
	}
	if id.Node != "n1" || id.Address != address || id.ControlKey != control || !id.Expires.Equal(noon.Add(trust.NodeLife)) {
		t.Errorf("got %+v", id)
	}
	refused(t, id.Valid(noon), nil)
}

// A node with a clock up to a day off is not locked out, whichever of CA, node
// and peer is off, and in which direction.
func TestClocks(t *testing.T) {
	g := newGrid(t)
	half := trust.NodeLife / 2
	tests := []struct {
		name   string
		issued time.Duration // the CA's clock, from noon
		judged time.Duration // the clock of who looks at it
		want   error
		renew  bool
	}{
		{"fresh", 0, 0, nil, false},
		{"who looks is a day behind", 0, -day, nil, false},
		{"who looks is a day ahead", 0, day, nil, false},
		{"the CA is a day ahead, who looks a day behind", day, -day, nil, false},
		{"the CA is a day behind, who looks a day ahead", -day, day, nil, false},
		{"a week behind is at the edge", 0, -trust.ClockSlack, nil, false},
		{"more than a week behind", 0, -trust.ClockSlack - time.Second, trust.ErrNotYetValid, false},
		{"a machine without a clock", 0, -56 * 365 * day, trust.ErrNotYetValid, false},
		{"a day before half its life", 0, half - day, nil, false},
		{"a day after half its life: renewed, with half a year to spare", 0, half + day, nil, true},
		{"the last second", 0, trust.NodeLife, nil, true},
		{"over", 0, trust.NodeLife + time.Second, trust.ErrExpired, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, pem := g.node("n1", noon.Add(test.issued))
			id, err := g.roots.Identity("n1", pem)
			if err != nil {
				t.Fatal(err)
			}
			now := noon.Add(test.judged)
			refused(t, id.Valid(now), test.want)
			if got := id.RenewalDue(now); got != test.renew {
				t.Errorf("renewal due: %v", got)
			}
		})
	}
}

// The CA's own end is the end of what it certified.
func TestCertificatesEndWithTheirCA(t *testing.T) {
	g := newGrid(t)
	last := noon.Add(trust.CALife)
	_, pem := g.node("n1", last.Add(-day))
	id := must(g.roots.Identity("n1", pem))
	if !id.Expires.Equal(last) {
		t.Errorf("expires %v, the CA %v", id.Expires, last)
	}
	key := must(trust.NewNodeKey())
	_, err := g.ca.Issue(must(trust.ParseRequest(must(key.Request("n1", control)))), address, last.Add(day))
	refused(t, err, trust.ErrExpired)
}

func TestIdentityRefuses(t *testing.T) {
	g, other := newGrid(t), newGrid(t)
	_, mine := g.node("n1", noon)
	_, second := g.node("n2", noon)
	_, foreign := other.node("n1", noon)
	tests := []struct {
		name, pem string
		want      error
	}{
		{"another node's", string(second), trust.ErrOtherNode},
		{"another node's behind its own", string(mine) + string(second), trust.ErrOtherNode},
		{"another grid's", string(foreign), trust.ErrUnknownAuthority},
		{"another grid's behind its own", string(mine) + string(foreign), trust.ErrUnknownAuthority},
		{"the CA's", string(g.ca.CertificatePEM()), trust.ErrMalformed},
		{"one that signed itself", string(selfSigned(t)), trust.ErrUnknownAuthority},
		{"nothing", "", trust.ErrMalformed},
		{"text behind it", string(mine) + "x", trust.ErrMalformed},
		{"too many", strings.Repeat(string(mine), 5), trust.ErrMalformed},
		{"a key in its place", string(must(must(trust.NewNodeKey()).PEM())), trust.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := g.roots.Identity("n1", []byte(test.pem))
			refused(t, err, test.want)
		})
	}
}

func selfSigned(t *testing.T) []byte {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, must(rand.Prime(rand.Reader, 64)))), Subject: pkix.Name{CommonName: "n1"},
		NotBefore: noon, NotAfter: noon.Add(day), IPAddresses: []net.IP{address.AsSlice()},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestRequestRefuses(t *testing.T) {
	p256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	uri := func(text string) []*url.URL { return []*url.URL{must(url.Parse(text))} }
	good := uri("zosnet:control-key:AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	tests := []struct {
		name string
		node string
		uris []*url.URL
		key  any
		want error
	}{
		{"good", "n1", good, p256, nil},
		{"no name", "", good, p256, trust.ErrMalformed},
		{"a path as a name", "../n1", good, p256, trust.ErrMalformed},
		{"two parts of a key as a name", "n1/record", good, p256, trust.ErrMalformed},
		{"a reserved name", "any", good, p256, trust.ErrMalformed},
		{"etcd's administrator", "root", good, p256, trust.ErrMalformed},
		{"no control key", "n1", nil, p256, trust.ErrMalformed},
		{"two control keys", "n1", append(good, good...), p256, trust.ErrMalformed},
		{"a control key of zeros", "n1", uri("zosnet:control-key:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), p256, trust.ErrMalformed},
		{"a short control key", "n1", uri("zosnet:control-key:AQID"), p256, trust.ErrMalformed},
		{"another URI", "n1", uri("https://n1.example/"), p256, trust.ErrMalformed},
		{"an RSA key", "n1", good, rsaKey, trust.ErrMalformed},
		{"a P-384 key", "n1", good, p384, trust.ErrMalformed},
		{"an ed25519 key", "n1", good, ed, trust.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject: pkix.Name{CommonName: test.node}, URIs: test.uris,
			}, test.key))
			_, err := trust.ParseRequest(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
			refused(t, err, test.want)
			der[len(der)-1] ^= 1
			_, err = trust.ParseRequest(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
			if err == nil {
				t.Error("a request whose signature does not fit is taken")
			}
		})
	}
}

// What a request asks for besides name and control key is not certified.
func TestRequestGivesNoMoreThanItsName(t *testing.T) {
	g := newGrid(t)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "n1", Organization: []string{"system:masters"}},
		DNSNames:    []string{"n2"},
		IPAddresses: []net.IP{net.ParseIP("fd5a:1::1")},
		URIs:        []*url.URL{must(url.Parse("zosnet:control-key:AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))},
		ExtraExtensions: []pkix.Extension{{
			Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}, // CA: true
		}},
	}, key))
	request := must(trust.ParseRequest(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	block, _ := pem.Decode(must(g.ca.Issue(request, address, noon)))
	cert := must(x509.ParseCertificate(block.Bytes))
	if cert.IsCA || len(cert.DNSNames) != 0 || len(cert.Subject.Organization) != 0 || cert.KeyUsage != x509.KeyUsageDigitalSignature ||
		len(cert.IPAddresses) != 1 || !cert.IPAddresses[0].Equal(address.AsSlice()) {
		t.Errorf("certified: %+v", cert)
	}
	for _, wrong := range []string{"192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0"} {
		if _, err := g.ca.Issue(request, netip.MustParseAddr(wrong), noon); err == nil {
			t.Errorf("control address %s is certified", wrong)
		}
	}
}

// Members are servers and clients in TLS; other nodes are clients, and cannot play
// a member.
func TestCertificateInTLS(t *testing.T) {
	g := newGrid(t)
	now := time.Now()
	member, node := must(trust.NewNodeKey()), must(trust.NewNodeKey())
	memberPEM := must(g.ca.IssueMember(must(trust.ParseRequest(must(member.Request("n1", control)))), address, now))
	nodePEM := g.certify(node, "n2", now)
	if id := must(g.roots.Identity("n1", memberPEM)); !id.Member {
		t.Error("a member's certificate is one of any node")
	}
	if id := must(g.roots.Identity("n2", nodePEM)); id.Member {
		t.Error("a node's certificate is one of a member")
	}
	memberTLS, nodeTLS := must(member.TLS(memberPEM)), must(node.TLS(nodePEM))
	tests := []struct {
		name           string
		server, client tls.Certificate
		as, want       string
	}{
		{"a node asks a member", memberTLS, nodeTLS, trust.MemberHostname, ""},
		{"a member asks a member", memberTLS, memberTLS, trust.MemberHostname, ""},
		{"a node plays a member", nodeTLS, nodeTLS, trust.MemberHostname, "not valid for"},
		{"a node serves at its address", nodeTLS, nodeTLS, address.String(), "incompatible key usage"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()  //nolint:errcheck // a pipe
			defer there.Close() //nolint:errcheck // a pipe
			server := tls.Server(there, &tls.Config{
				MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: g.roots.Pool(),
				Certificates: []tls.Certificate{test.server},
			})
			client := tls.Client(here, &tls.Config{
				MinVersion: tls.VersionTLS13, RootCAs: g.roots.Pool(), ServerName: test.as,
				Certificates: []tls.Certificate{test.client},
			})
			done := make(chan error, 1)
			go func() { done <- server.Handshake() }()
			err := client.Handshake()
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the client says %v, want %q", err, test.want)
				}
				return
			}
			refused(t, err, nil)
			refused(t, <-done, nil)
			if _, err := g.roots.IdentityOf(server.ConnectionState().PeerCertificates[0], now); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := member.TLS(nodePEM); err == nil {
		t.Error("another node's certificate goes with the key")
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	g := newGrid(t)
	ca := must(trust.ParseCA(g.ca.CertificatePEM(), must(g.ca.KeyPEM())))
	if ca.Fingerprint() != g.ca.Fingerprint() || !g.roots.Has(ca.Fingerprint()) {
		t.Error("another CA was read")
	}
	_, err := trust.ParseCA(newGrid(t).ca.CertificatePEM(), must(g.ca.KeyPEM()))
	refused(t, err, trust.ErrMalformed)
	key, cert := g.node("n1", noon)
	again := must(trust.ParseNodeKey(must(key.PEM())))
	if _, err := again.TLS(cert); err != nil {
		t.Error(err)
	}
	_, err = trust.ParseCA(cert, must(key.PEM()))
	refused(t, err, trust.ErrMalformed)
	_, err = trust.ParseNodeKey(must(must(trust.NewOwnerKey()).PEM()))
	refused(t, err, trust.ErrMalformed)
}

func TestCAIsReplacedByItsOwnWord(t *testing.T) {
	g, stranger := newGrid(t), newGrid(t)
	next := must(trust.NewCA(noon))
	_, older := g.node("n1", noon)
	both, err := g.roots.Adopt(must(g.ca.Endorse(next, noon)), noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, ca := range map[string]*trust.CA{"old": g.ca, "new": next} {
		if !both.Has(ca.Fingerprint()) {
			t.Errorf("the %s CA is not believed", name)
		}
	}
	_, err = both.Identity("n1", older)
	refused(t, err, nil)
	_, newer := grid{ca: next}.node("n1", noon)
	_, err = both.Identity("n1", newer)
	refused(t, err, nil)
	_, err = g.roots.Identity("n1", newer)
	refused(t, err, trust.ErrUnknownAuthority)
	again, err := must(trust.ParseRoots(both.PEM())).Adopt(must(g.ca.Endorse(next, noon)), noon)
	if err != nil || string(again.PEM()) != string(both.PEM()) {
		t.Errorf("adopting it again: %v", err)
	}

	nodeKey, nodePEM := g.node("n1", noon)
	_ = nodeKey
	tests := []struct {
		name string
		word []byte
		at   time.Time
		want error
	}{
		{"a stranger's word", must(stranger.ca.Endorse(next, noon)), noon, trust.ErrUnknownAuthority},
		{"its own word", must(next.Endorse(next, noon)), noon, trust.ErrUnknownAuthority},
		{"no word", next.CertificatePEM(), noon, trust.ErrMalformed},
		{"a word for another", append(stranger.ca.CertificatePEM(), secondBlock(must(g.ca.Endorse(next, noon)))...), noon, trust.ErrSignature},
		{"a node's certificate as the word", append(next.CertificatePEM(), nodePEM...), noon, trust.ErrUnknownAuthority},
		{"after the old CA's end", must(g.ca.Endorse(next, noon)), noon.Add(trust.CALife + day), trust.ErrExpired},
	}
	for _, test := range tests {
		_, err := g.roots.Adopt(test.word, test.at)
		t.Run(test.name, func(t *testing.T) { refused(t, err, test.want) })
	}
}

func secondBlock(text []byte) []byte {
	_, rest := pem.Decode(text)
	return rest
}
