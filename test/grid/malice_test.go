package grid_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/zosnet/zosnet/pkg/grid"
)

// registryAs speaks to the grid's registry as a node does, with what that one has.
func (n *node) registryAs() *clientv3.Client {
	n.t.Helper()
	home := grid.NewHome(filepath.Join(n.dir, "state"))
	state, err := home.State()
	check(n.t, err)
	key, certificate, err := home.Node()
	check(n.t, err)
	roots, err := home.Roots()
	check(n.t, err)
	own, err := key.TLS(certificate)
	check(n.t, err)
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + net.JoinHostPort(state.Members[0].Address.String(), "2379")}, Logger: zap.NewNop(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, RootCAs: roots.Pool()},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return n.Dial(ctx, "tcp6", strings.TrimPrefix(address, "https://"))
		})},
	})
	check(n.t, err)
	return etcd
}

// oneNodeAgainstIt: a node of the grid that is not in a network takes the network's
// document, and what tells its nodes that they are named, out of the registry, where
// every node can write. Nothing stops, and it is all there again. What a node says of
// itself it cannot touch.
func oneNodeAgainstIt(t *testing.T, thief *node, network string, web, db endpoint, victims ...*node) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	etcd := thief.registryAs()
	defer func() { _ = etcd.Close() }()
	stream := web.streamsFor(db, 5*time.Second)
	for _, under := range []string{"/zosnet/v1/networks/", "/zosnet/v1/spans/"} {
		gone, err := etcd.Delete(ctx, under, clientv3.WithPrefix())
		check(t, err)
		if gone.Deleted == 0 {
			t.Errorf("there was nothing under %s", under)
		}
	}
	if _, err := etcd.Delete(ctx, "/zosnet/v1/nodes/"+victims[0].name+"/record"); err == nil {
		t.Error("a node took back what another says of itself")
	}
	eventually(t, "the document is there again", func() bool {
		found, err := etcd.Get(ctx, "/zosnet/v1/networks/"+network)
		return err == nil && found.Count == 1
	})
	if lost := stream(t); lost > 10 {
		t.Errorf("%d packets were lost", lost)
	}
	for _, n := range victims {
		n.shows(network, 2, 2)
		n.hasNetwork(network, true)
	}
}

// entranceKeys adds the private keys by which people come into networks.
func entranceKeys(t *testing.T, private map[string]string, nodes ...*node) {
	t.Helper()
	var files []string
	for _, n := range nodes {
		found, err := filepath.Glob(filepath.Join(n.dir, "state", "entrances", "*"))
		check(t, err)
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Error("there is no key of an entrance")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		private[file] = strings.TrimSpace(string(text))
	}
}
