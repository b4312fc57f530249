package spec_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/spec"
)

func TestPortsText(t *testing.T) {
	tests := []struct {
		text string
		want spec.Ports
	}{
		{"any", spec.Ports{Any: true}},
		{"tcp/1", spec.Ports{Proto: 6, First: 1, Last: 1}},
		{"tcp/65535", spec.Ports{Proto: 6, First: 65535, Last: 65535}},
		{"tcp/any", spec.Ports{Proto: 6, First: 0, Last: 65535}},
		{"udp/1-65535", spec.Ports{Proto: 17, First: 1, Last: 65535}},
		{"udp/1000-2000", spec.Ports{Proto: 17, First: 1000, Last: 2000}},
		{"sctp/9899", spec.Ports{Proto: 132, First: 9899, Last: 9899}},
		{"icmpv6/any", spec.Ports{Proto: 58, First: 0, Last: spec.ICMPv6Any}},
		{"icmpv6/echo-request", spec.Ports{Proto: 58, First: 128, Last: 128}},
		{"icmpv6/200", spec.Ports{Proto: 58, First: 200, Last: 200}},
		{"icmpv6/0", spec.Ports{Proto: 58, First: 0, Last: 0}},
	}
	for _, test := range tests {
		got, err := spec.ParsePorts(test.text)
		if err != nil || got != test.want {
			t.Errorf("ParsePorts(%q) = %+v, %v, want %+v", test.text, got, err, test.want)
		}
		if text := got.String(); text != test.text {
			t.Errorf("%+v is written %q, want %q", got, text, test.text)
		}
	}
	// The corpus has the rest of what is refused.
	if got, err := spec.ParsePorts("tcp/2-1"); err == nil {
		t.Errorf("tcp/2-1 gave %+v", got)
	}
}

// Every ICMPv6 type reads back from its text, and the schema knows each name.
func TestICMPv6Types(t *testing.T) {
	schema := compile(t, spec.NetworkSchema())
	for number := range 256 {
		name := spec.ICMPv6TypeName(uint8(number))
		for _, text := range []string{name, fmt.Sprint(number)} {
			if got, ok := spec.ParseICMPv6Type(text); !ok || int(got) != number {
				t.Errorf("type %d: %q reads as %d, %v", number, text, got, ok)
			}
			document := "{network: acme, nodes: [n1], rules: [{deny: {ports: icmpv6/" + text + "}}]}"
			if err := schemaVerdict(schema, []byte(document)); err != nil {
				t.Errorf("schema: %v", err)
			}
		}
	}
	names := map[uint8]string{1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded",
		4: "parameter-problem", 128: "echo-request", 129: "echo-reply", 133: "router-solicitation",
		134: "router-advertisement", 135: "neighbor-solicitation", 136: "neighbor-advertisement", 137: "redirect", 200: "200"}
	for number, want := range names {
		if got := spec.ICMPv6TypeName(number); got != want {
			t.Errorf("type %d is %q, want %q", number, got, want)
		}
	}
}

// What a rule gives as text says the same when it is read again.
func TestRuleText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := ruleGenerator().Draw(t, "rule")
		text := "network: acme\nnodes: [n1]\nservices: {web: , db: }\naccess: {alice: {publicKey: \"" + key + "\"}}\nrules:\n  - " + rule.String() + "\n"
		n, _, err := spec.DecodeNetwork("acme.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(rule, n.Rules[0], values); diff != "" {
			t.Fatalf("%s\n-drawn +read:\n%s", rule, diff)
		}
	})
}

func ruleGenerator() *rapid.Generator[spec.Rule] {
	selector := rapid.Custom(func(t *rapid.T) spec.Selector {
		switch kind := spec.SelectorKind(rapid.IntRange(0, int(spec.SelectPeerService)).Draw(t, "kind")); kind {
		case spec.SelectService:
			return spec.Selector{Kind: kind, Name: rapid.SampledFrom([]string{"web", "db"}).Draw(t, "service")}
		case spec.SelectAccess:
			return spec.Selector{Kind: kind, Name: "alice"}
		case spec.SelectPeerService:
			return spec.Selector{Kind: kind, Network: "other", Name: rapid.StringMatching(`a[a-z0-9-]{0,30}`).
				Filter(spec.ValidName).Draw(t, "peer")}
		case spec.SelectCIDR:
			return spec.Selector{Kind: kind, CIDR: cidrGenerator().Draw(t, "cidr")}
		default:
			return spec.Selector{Kind: kind}
		}
	})
	ports := rapid.Custom(func(t *rapid.T) spec.Ports {
		switch proto := rapid.SampledFrom([]uint8{0, spec.ProtoTCP, spec.ProtoUDP, spec.ProtoSCTP, spec.ProtoICMPv6}).Draw(t, "proto"); proto {
		case 0:
			return spec.Ports{Any: true}
		case spec.ProtoICMPv6:
			number := uint16(rapid.Byte().Draw(t, "type"))
			return spec.Ports{Proto: proto, First: number, Last: number}
		default:
			if rapid.Bool().Draw(t, "all") {
				return spec.Ports{Proto: proto, First: 0, Last: 65535}
			}
			first := rapid.Uint16Min(1).Draw(t, "first")
			return spec.Ports{Proto: proto, First: first, Last: rapid.Uint16Min(first).Draw(t, "last")}
		}
	})
	return rapid.Custom(func(t *rapid.T) spec.Rule {
		rule := spec.Rule{
			Action: rapid.SampledFrom([]spec.Action{spec.Allow, spec.Deny}).Draw(t, "action"),
			From:   rapid.SliceOfN(selector, 1, 4).Draw(t, "from"),
			To:     rapid.SliceOfN(selector, 1, 4).Draw(t, "to"),
			Log:    rapid.Bool().Draw(t, "log"),
		}
		if list := rapid.SliceOfN(ports, 0, 4).Draw(t, "ports"); len(list) > 0 {
			rule.Ports = list
		}
		return rule
	})
}

func cidrGenerator() *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		length := rapid.SampledFrom([]int{4, 16}).Draw(t, "family")
		addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), length, length).Draw(t, "address"))
		prefix, _ := addr.Prefix(rapid.IntRange(0, 8*length).Draw(t, "length"))
		if prefix.Addr().Is4In6() {
			return netip.MustParsePrefix("::/0")
		}
		return prefix
	})
}

// A problem is one line, whatever the document has in it.
func TestOneLineEach(t *testing.T) {
	_, _, err := spec.DecodeNetwork("a.yaml", []byte("network: \"a\\nb\"\nnodes: [\"\\u2028\", \"\\r\"]\n\"x\\ny\": 1"))
	if lines := strings.Split(errorText(err), "\n"); len(lines) != 4 {
		t.Errorf("got %d lines:\n%v", len(lines), err)
	}
}
