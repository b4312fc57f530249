package grid_test

import (
	"context"
	"strings"
	"testing"
)

// newerDocument: at a network's key is a document of a version that these nodes do not
// read. They go on with the last one that they understood, and say what is there and what
// to do; nobody writes over it. When it is gone, that last one is put back.
func newerDocument(t *testing.T, writer *node, network, key, file string, web, db endpoint, nodes ...*node) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	etcd := writer.registryAs()
	defer func() { _ = etcd.Close() }()
	const newer, says, advice = `{"version":2,"aNewForm":{"nodes":[]}}`, "it is of version 2", "upgrade zosnet on this node"
	at := "/zosnet/v1/networks/" + network
	_, err := etcd.Put(ctx, at, newer)
	check(t, err)
	for _, n := range nodes {
		n.ignores(network, says)
		n.shows(network, 2, 2)
		if out, err := n.cli("network", "show", network); err != nil || !strings.Contains(out, says) || !strings.Contains(out, advice) {
			t.Errorf("%s shows %s, %v", n.name, out, err)
		}
		for _, verb := range [][]string{
			{"apply", "--key", key, "-f", file}, {"delete", network, "--key", key, "--force"}, {"network", "diff", network, "-f", file},
		} {
			if out, err := n.cli(verb...); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), advice) {
				t.Errorf("%s %v: %s, %v", n.name, verb, out, err)
			}
		}
	}
	web.reaches(t, db)
	if found, err := etcd.Get(ctx, at); err != nil || found.Count != 1 || string(found.Kvs[0].Value) != newer {
		t.Errorf("somebody wrote over it: %v, %v", found, err)
	}
	_, err = etcd.Delete(ctx, at)
	check(t, err)
	eventually(t, "the last document is there again", func() bool {
		found, err := etcd.Get(ctx, at)
		return err == nil && found.Count == 1 && strings.Contains(string(found.Kvs[0].Value), `"version":1`)
	})
	for _, n := range nodes {
		n.ignores(network, "")
		n.hasNetwork(network, true)
	}
}
