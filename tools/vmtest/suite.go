package main

import (
	"slices"
	"time"
)

// group is what one compiled test brings to a guest.
type group struct {
	pkg     string   // the package, from the root of the tree
	run     string   // which of its tests, all if empty
	skip    string   // which not
	usual   string   // which, unless RUN names the package
	also    shares   // which besides the usual ones, on each kernel
	modules []string // that it needs, besides those of the machine itself
	env     []string
	limit   time.Duration
	links   bool   // in the guest of those that need whole nodes and links, not in that of the programs
	refused bool   // also for kernels that must be refused
	boot    *boot  // one boot of a machine with a disk, instead of a run in another guest
	only    string // the kernels that are enough, all if empty
	named   bool   // only where RUN names the package or the test
}

// shares are tests by kernel: those of a package that are the same on all, and
// too slow to run on each.
type shares map[string]string

// What every guest needs to come up, to report and to hold a disk.
var machineModules = []string{"virtio_pci", "virtio_console", "virtio_net", "virtio_blk", "ext4"}

// What the tests of several packages need.
var (
	links    = []string{"veth", "bridge", "8021q", "tun", "af_packet"}
	traffic  = []string{"sch_ingress", "cls_bpf", "act_bpf", "act_gact", "sch_netem"}
	nftables = []string{"nf_tables", "nft_log", "nft_ct", "nft_limit", "nft_reject_inet", "nft_fib_inet"}
	datapath = slices.Concat(links, traffic, nftables)
	uplinks  = []string{"bonding", "dummy", "vrf"}
	tunnels  = []string{"wireguard", "sit", "ip6_tunnel"}
	nat      = []string{"nft_chain_nat", "nft_masq"}
)

// suite is every test that runs in a guest, in the order of running: what is
// quick and tells most comes first. Packages that never ask a kernel anything
// are not among them. Translated code is some twenty times slower, so of some
// packages a run of everything takes only what another kernel may change;
// RUN=PACKAGE takes all.
var suite = []group{
	{pkg: bootPackage, run: "TestDoctor|TestDaemonRefuses", modules: datapath, limit: 2 * time.Minute, refused: true},
	{pkg: bootPackage, run: "TestFirst", modules: datapath, limit: 6 * time.Minute, boot: &first, only: "6.1 backports"},
	{pkg: bootPackage, run: "TestSecond", modules: datapath, limit: 6 * time.Minute, boot: &second, only: "6.1 backports"},
	{pkg: bootPackage, run: "TestUnits", modules: datapath, limit: 8 * time.Minute, boot: &units, only: "6.12"},
	{pkg: bootPackage, run: "TestWrongNodeDocument", modules: datapath, limit: 4 * time.Minute, boot: &closed, only: "6.12"},
	{
		pkg: "pkg/loader", skip: "TestCompilers", modules: datapath, limit: 12 * time.Minute,
		usual: "TestAttachEachWay|TestEarly$|TestOpen|TestProbe|TestVerifier",
		also: shares{
			"6.1": "TestAnUnfinished|TestAttach|TestChange|TestRefused|TestRemove|TestReplacing|TestUpgrades/fallback",
			"6.12": "TestAnOverlay|TestCommit|TestEarly|TestErrors|TestHelper|TestLowest|TestMount|TestOthers|TestOverlay|TestPins|" +
				"TestPrograms|TestRemove|TestSweep|TestTimeouts|TestUplink|TestVLANs|TestWhere",
			"backports": "TestAttachHeals|TestFalls|TestGeneric|TestJumbo|TestReopen|TestReplacing",
		},
	},
	{
		pkg: "pkg/maps", modules: datapath, limit: 4 * time.Minute,
		usual: "TestOpen|TestPolicyVersions|TestPutPrefixes|TestRead|TestSwitchOf",
		also:  shares{"6.1": "TestSwitchStarts|TestSwitchWith", "6.12": "TestSwitchEnds", "backports": "Test[A-R]|TestSet|TestStaged|TestUpdate"},
	},
	{
		pkg: "test/datapath", modules: datapath, limit: 10 * time.Minute,
		usual: "TestAnUplink|TestFragments|TestICMP|TestTheFailsafe$|TestTheHostIs|TestWhat",
		also:  shares{"6.1": "Test[A-L]", "6.12": "Test[M-S]", "backports": "Test[T-Z]"},
	},
	{
		pkg: "test/differential", usual: "TestDatapathDecidesAsTheOracle", modules: datapath,
		env: []string{"ZOSNET_DIFF_CASES=20000"}, limit: 4 * time.Minute,
	},
	{
		pkg: "pkg/apply", modules: datapath, limit: 8 * time.Minute,
		usual: "TestApply",
		also: shares{
			"6.1":       "TestGeneration|TestRemove|TestRouteEpoch|TestTap|TestUplinks",
			"6.12":      "TestBackstop|TestLockdown|TestUplinkAppears",
			"backports": "TestForwarding|TestLearned|TestRemove",
		},
	},
	{pkg: "pkg/telemetry", modules: datapath, limit: 3 * time.Minute},
	{pkg: "pkg/daemon", usual: "TestLockdownBeforeTheRegistry", modules: datapath, limit: 5 * time.Minute, only: "6.1"},
	{pkg: "pkg/registry", usual: "TestReopen|TestSnapshotOrder|TestReadOnlyDisk|TestFullDisk", modules: datapath, limit: 4 * time.Minute},
	{
		// wireguard-go, translated, does not carry the thousand datagrams a second of those.
		pkg: "pkg/wireguard/device", skip: "^(TestMTU|TestPeersApart|TestRotation)$",
		modules: slices.Concat(datapath, tunnels), limit: 6 * time.Minute,
		usual: "TestKernelTraffic|TestKernelMTU|TestKernelPeersApart",
		also:  shares{"6.1": "TestKernelSilent|TestKernelForget|TestKernelCall", "6.12": "TestKernelRotation|TestKernelPrepare|TestKernelCall|TestKernelOldKey|TestKernelKeyOf"},
	},
	{pkg: "test/lab", modules: slices.Concat(datapath, nat), limit: 4 * time.Minute, only: "6.1"},
	{pkg: "test/probe", modules: datapath, limit: 4 * time.Minute, only: "backports"},
	{
		pkg: "test/vm", modules: slices.Concat(datapath, uplinks), limit: 15 * time.Minute, links: true,
		usual: "TestSmoke",
		also: shares{
			"6.1":       "TestBond$|TestDummy|TestVirtio|TestVRFMember",
			"6.12":      "TestNetkit|TestPluggedIn|TestVLAN$",
			"backports": "TestQueues",
		},
	},
	{
		pkg: "test/node", modules: datapath, limit: 15 * time.Minute, links: true,
		usual: "TestKill", only: "6.1 6.12 backports",
		also: shares{
			"6.1":       "TestAttacks|TestDelete|TestRestart|TestUplinkComesAndGoes",
			"6.12":      "TestDHCP|TestHopLimit|TestPathMTU|TestVM$",
			"backports": "TestNeighbourChanges|TestStolenIdentity|TestTenantsApart",
		},
	},
	{
		pkg: "tools/demo", run: "TestThreeNodes", modules: slices.Concat(datapath, tunnels, nat),
		limit: 15 * time.Minute, links: true, only: "6.12",
	},
	{pkg: "test/grid", modules: slices.Concat(datapath, tunnels, nat), limit: 30 * time.Minute, links: true, named: true},
}
