package loader

import (
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
)

// Programs forget by the timeouts that they were loaded with.
func TestTimeouts(t *testing.T) {
	enter(t)
	specs, err := builtIn()
	must(t, err)
	var timeouts maps.Timeouts
	for _, spec := range specs {
		must(t, spec.Variables[uplinkVarTimeout].Get(&timeouts))
		if got := time.Duration(timeouts.TcpEstablished); got < 2*time.Hour+4*time.Minute { // RFC 5382, REQ-5
			t.Errorf("established connections are forgotten after %s", got)
		}
	}
	timeouts.OtherOpening = uint64(50 * time.Millisecond)
	must(t, setTimeouts(specs, timeouts))
	d, err := open(Options{BPFFS: bpffs(t)}, specs)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	put := func(port uint16, state uint8) {
		key := maps.FlowKey{LowPort: port, HighPort: 53, Proto: 17}
		must(t, d.Maps().Flows.Put(&key, &maps.Flow{LastSeen: maps.MonotonicTime() + uint64(time.Second), State: state}))
	}
	put(1, 0)
	put(2, 1)
	sweep := func() int {
		n, err := d.SweepFlows()
		must(t, err)
		return n
	}
	if n := sweep(); n != 0 {
		t.Errorf("%d flows swept before their time", n)
	}
	waitFor(t, "the flow without an answer to be swept", func() bool { return sweep() == 1 })
}

// Each interface gets the programs that read its packets from where their IP header
// is.
func TestProgramsForInterfacesWithoutEthernet(t *testing.T) {
	enter(t)
	options := Options{BPFFS: bpffs(t)}
	veth(t, "up0", "world0")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "tun0"
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI}))
	d := openDatapath(t, options)
	assertVariants := func(d *Datapath, when string) {
		t.Helper()
		for name, want := range map[string]string{
			"uplink_ingress up0": uplinkIngress, "uplink_ingress tun0": uplinkIngress + bareSuffix,
			"uplink_xdp up0": uplinkXDP, "uplink_xdp tun0": uplinkXDP + genericSuffix + bareSuffix,
		} {
			info, err := d.programs[want].Info()
			must(t, err)
			on, linked := programsOn(t, d)[name] // clsact has filters instead
			if id, _ := info.ID(); on != uint32(id) && (linked || firstChoice() == "tcx") {
				t.Errorf("%s: %s is not %s", when, name, want)
			}
		}
	}
	for _, ifname := range []string{"up0", "tun0"} {
		_, err := d.AttachUplink(ifname)
		must(t, err)
	}
	assertVariants(d, "attached")
	must(t, d.Close())
	assertVariants(openDatapath(t, options), "replaced")
}

// XDP in the stack has its own variant, which stays that when it is replaced.
func TestGenericXDPIsAVariant(t *testing.T) {
	enter(t)
	options := Options{BPFFS: bpffs(t), ForceGenericXDP: true}
	veth(t, "up0", "world0")
	d := openDatapath(t, options)
	for range 2 {
		for range 2 {
			_, err := d.AttachUplink("up0")
			must(t, err)
			info, err := d.programs[uplinkXDP+genericSuffix].Info()
			must(t, err)
			if id, _ := info.ID(); programsOn(t, d)["uplink_xdp up0"] != uint32(id) {
				t.Error("XDP in the stack is not the variant for it")
			}
		}
		must(t, d.Close())
		d = openDatapath(t, options)
	}
}
