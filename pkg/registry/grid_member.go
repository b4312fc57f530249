package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/zosnet/zosnet/pkg/trust"
)

// Sizes and times of a member of the grid's etcd.
const (
	gridQuotaBytes = 2 << 30 // database
	gridHistory    = "2h"    // how long a client may be cut off and catch up by watching
	gridStreams    = 1 << 14 // streams of one connection
)

// ErrRemoved says that the grid took this member out.
var ErrRemoved = errors.New("the grid has removed this member")

// MemberConfig says what a member of the grid's etcd is.
type MemberConfig struct {
	Name   string         // the node's
	Dir    string         // STATEDIR/grid/etcd; made if it is not there
	Client netip.AddrPort // where it serves clients, a control address
	Peer   netip.AddrPort // where it serves the other members, a control address

	// Members gives the peer address of every member, this one among them, by
	// name, as AddMember gave it: the first start joins them. Empty: the first
	// start makes a new grid. Later starts do not read it.
	Members map[string]netip.AddrPort

	// PEM files. The certificate is one of a member ([trust.CA.IssueMember]), by a CA
	// in CAFile, which must also have made those of all others. Certificate and key
	// are read again at each handshake.
	CertFile, KeyFile, CAFile string

	// RevokedFile has the CA's revocation list (DER), empty: none. Whose certificate it
	// names is no member to this one; it is read again at each handshake. Nodes that
	// are no members are kept out by taking their user away.
	RevokedFile string
}

// Member is an embedded etcd that is part of a grid's cluster. Its state is apart
// from the node's own (Store): that one must be there without a majority of others.
type Member struct {
	name   string
	etcd   *embed.Etcd
	client *clientv3.Client // calls the member in process
	failed *failure
	done   chan struct{} // the member has stopped

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// StartMember starts the member and returns as soon as it listens. It serves once
// Ready is closed, for which a majority of the members must be there.
func StartMember(ctx context.Context, cfg MemberConfig, log *slog.Logger) (*Member, error) {
	f := newFailure(cfg.Dir)
	return startMemberAs(ctx, cfg, cfg.etcd(log, f), f)
}

func startMemberAs(ctx context.Context, cfg MemberConfig, etcd *embed.Config, f *failure) (*Member, error) {
	if err := checkName("node", cfg.Name); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the grid's registry: %w%s", err, unwritableAdvice(err))
	}
	if err := wantSpace(cfg.Dir, spaceToCreate); err != nil {
		return nil, err
	}
	e, err := startEtcd(ctx, etcd, f)
	if err != nil {
		return nil, err
	}
	m := &Member{name: cfg.Name, etcd: e, client: v3client.New(e.Server), failed: f, done: make(chan struct{}), closing: make(chan struct{})}
	go m.watchRemoval()
	return m, nil
}

// etcd gives the configuration: mTLS in both roles, and no address but the two.
func (c MemberConfig) etcd(log *slog.Logger, f *failure) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = c.Name, c.Dir
	cfg.ListenPeerUrls, cfg.ListenClientUrls = []url.URL{secure(c.Peer)}, []url.URL{secure(c.Client)}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = cfg.ListenPeerUrls, cfg.ListenClientUrls
	cfg.InitialCluster = initialCluster(map[string]netip.AddrPort{c.Name: c.Peer})
	if len(c.Members) > 0 {
		cfg.ClusterState = embed.ClusterStateFlagExisting
		cfg.InitialCluster = initialCluster(c.Members)
	}
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.CAFile, ClientCertAuth: true}
	cfg.PeerTLSInfo = cfg.ClientTLSInfo
	// Who speaks to a member as a member can write anything: it must be one.
	cfg.PeerTLSInfo.ServerName, cfg.PeerTLSInfo.AllowedHostnames = trust.MemberHostname, []string{trust.MemberHostname}
	cfg.PeerTLSInfo.SkipClientSANVerify = true // it would look that name up in DNS
	cfg.PeerTLSInfo.CRLFile = c.RevokedFile
	cfg.TlsMinVersion = "TLS1.3"
	cfg.EnableGRPCGateway = false // it would speak for its callers with the member's certificate
	cfg.QuotaBackendBytes = gridQuotaBytes
	cfg.MaxRequestBytes, cfg.MaxTxnOps = maxRequestBytes, maxTxnOps
	cfg.MaxConcurrentStreams = gridStreams
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, gridHistory
	cfg.BootstrapDefragThresholdMegabytes = gridQuotaBytes >> 22
	cfg.LogLevel = "error"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newEtcdLogger(log, f))
	return cfg
}

func secure(at netip.AddrPort) url.URL { return url.URL{Scheme: "https", Host: at.String()} }

func initialCluster(members map[string]netip.AddrPort) string {
	var list []string
	for name, at := range members {
		u := secure(at)
		list = append(list, name+"="+u.String())
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

func (m *Member) watchRemoval() {
	defer close(m.done)
	<-m.etcd.Server.StopNotify()
	if !m.failed.stopping.Load() {
		m.failed.set(ErrRemoved)
	}
}

// Ready is closed once the member serves.
func (m *Member) Ready() <-chan struct{} { return m.etcd.Server.ReadyNotify() }

// Failed is closed when the member had to stop by itself; Err says why.
func (m *Member) Failed() <-chan struct{} { return m.failed.done }

// Err gives a *FailedError once Failed is closed, ErrRemoved in it when the grid
// removed the member: its directory is of no use any more then.
func (m *Member) Err() error {
	select {
	case <-m.failed.done:
		return m.failed.err
	default:
		return nil
	}
}

// Leads tells whether this member is the leader.
func (m *Member) Leads() bool { return m.etcd.Server.Leader() == m.etcd.Server.MemberID() }

// AsRoot runs a request that only root may make: roles, users, members. The client
// calls the member in process. There is no other root: it has no password, and no
// certificate must name it. A request has 10 s.
func (m *Member) AsRoot(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
	_, err := ask(ctx, m.failed, m.closing, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, request(m.etcd.Server.AuthStore().WithRoot(ctx), m.client)
	})
	return err
}

// Close stops the member. The others go on if they are a majority. It may be called
// more than once.
func (m *Member) Close() error {
	m.closeOnce.Do(func() {
		close(m.closing)
		if m.closeErr = stopMember(m.etcd, m.failed, func() { _ = m.client.Close() }); m.closeErr == nil {
			<-m.done
		}
	})
	return m.closeErr
}
