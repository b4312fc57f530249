package grid_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// asEtcd has the foreignEtcd, as JSON, of a process that is one until it is killed.
const asEtcd = "ZOSNET_TEST_ETCD"

// TestMain also runs an etcd, in a process that can be on a machine of the lab.
func TestMain(m *testing.M) {
	if text := os.Getenv(asEtcd); text != "" {
		fmt.Fprintln(os.Stderr, serveEtcd(text))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// foreignEtcd is an etcd that somebody else runs, with mTLS.
type foreignEtcd struct {
	Dir, CA, Cert, Key string
	Listen             string
	Administrator      string // whom its operator gave the role root
}

// serveEtcd does what its operator does: start it, make the grid's administrator a
// user, and switch authentication on.
func serveEtcd(text string) error {
	var is foreignEtcd
	if err := json.Unmarshal([]byte(text), &is); err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Dir = is.Dir
	cfg.LogLevel = "error"
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = []url.URL{{Scheme: "https", Host: is.Listen}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: is.Cert, KeyFile: is.Key, TrustedCAFile: is.CA, ClientCertAuth: true}
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	<-etcd.Server.ReadyNotify()
	client, ctx := v3client.New(etcd.Server), context.Background()
	for _, step := range []func() error{
		func() error { _, err := client.RoleAdd(ctx, "root"); return err },
		func() error { return addRoot(ctx, client, "root") },
		func() error { return addRoot(ctx, client, is.Administrator) },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return <-etcd.Err()
}

func addRoot(ctx context.Context, client *clientv3.Client, user string) error {
	if _, err := client.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
		return err
	}
	_, err := client.UserGrantRole(ctx, user, "root")
	return err
}

// authority is the CA of somebody's etcd; it has nothing to do with the grid's.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "somebody's etcd"},
	})
	return a
}

// issue writes a certificate and its key into files of a name.
func (a *authority) issue(file string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	check(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	for name, block := range map[string]*pem.Block{
		file + ".pem": {Type: "CERTIFICATE", Bytes: der}, file + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		check(a.t, os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(block), 0o600))
	}
	cert, err := x509.ParseCertificate(der)
	check(a.t, err)
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// TestForeignRegistry: a grid whose registry is an etcd that somebody else runs. The
// grid's own CA says who is in it all the same.
func TestForeignRegistry(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	at := netip.AddrPortFrom(lab.OutsideIPv4, 2379)
	a.issue("server", &x509.Certificate{
		IPAddresses: []net.IP{at.Addr().AsSlice()}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	var configs []lab.NodeConfig
	var names []string
	id := own()
	for i := 1; i <= 2; i++ {
		file := fmt.Sprintf("n%d", i)
		names = append(names, file+"-"+id)
		a.issue(file, &x509.Certificate{Subject: pkix.Name{CommonName: names[i-1]}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		configs = append(configs, lab.NodeConfig{Name: names[i-1], Document: fmt.Sprintf("registry: {endpoints: ['https://%v'], ca: %s, certificate: %s, key: %s}\n",
			at, a.file("ca.pem"), a.file(file+".pem"), a.file(file+".key"))})
	}
	g, nodes := newGrid(t, configs...)
	first, second := nodes[0], nodes[1]

	self, err := os.Executable()
	check(t, err)
	etcd := g.Outside.Command(t.Context(), self)
	what, err := json.Marshal(foreignEtcd{
		Dir: a.file("etcd"), CA: a.file("ca.pem"), Cert: a.file("server.pem"), Key: a.file("server.key"), Listen: at.String(), Administrator: names[0],
	})
	check(t, err)
	etcd.Env = append(etcd.Env, asEtcd+"="+string(what))
	etcd.Stderr = os.Stderr
	etcd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(t, etcd.Start())
	t.Cleanup(func() { _ = etcd.Process.Kill(); _ = etcd.Wait() })

	for _, n := range nodes {
		n.start()
	}
	first.place("grid", "init")
	token := first.token()
	second.place("grid", "join", token)

	network := "e" + own()
	page := filepath.Join(first.dir, "network.yaml")
	text := fmt.Sprintf("network: %s\nnodes: [%s, %s]\nservices: {web: {}}\n", network, first.name, second.name)
	check(t, os.WriteFile(page, []byte(text), 0o600))
	key := first.ownerKey("owner.key")
	_, err = second.cli("apply", "--key", key, "-f", page)
	check(t, err)
	for _, n := range nodes {
		n.hasNetwork(network, true)
		if _, err := os.Stat(filepath.Join(n.dir, "state", "grid", "etcd")); !os.IsNotExist(err) {
			t.Errorf("%s keeps a registry of the grid: %v", n.name, err)
		}
	}
	for _, verb := range []string{"promote", "demote"} {
		if _, err := first.cli("grid", verb, second.name); err == nil || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	t.Run("killed daemons come back to it", func(t *testing.T) {
		for _, n := range nodes {
			n.stop(unix.SIGKILL)
			n.start()
		}
		eventually(t, "it lets nodes in", func() bool { _, err := first.cli("grid", "token"); return err == nil })
		_, err := second.cli("delete", network, "--key", key)
		check(t, err)
		first.hasNetwork(network, false)
	})
	searchSecrets(t, nodes, token)
}
