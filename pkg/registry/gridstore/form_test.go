package gridstore

import (
	"net/netip"
	"strings"
	"testing"
)

// TestForm: a node whose signature is good says what no node can say of itself.
func TestForm(t *testing.T) {
	machine := netip.MustParseAddr("2001:db8::1")
	good := []value{
		&Record{}, &Part{}, &Attachment{}, &registration{}, &Document{},
		&Record{Class: "dc-dual", Endpoint: netip.MustParseAddr("192.0.2.1"), ControlEndpoint: "[2001:db8::1]:2392", ControlAddress: netip.MustParseAddr("fd00::1"), NextHop: machine, Program: "v1.0.0-3-gabc+dirty"},
		&Part{PublicKey: "AAAA", EntranceKey: "AAAA", Next: &Successor{PublicKey: "AAAA"}},
		&Attachment{Service: "web", Kind: "netns", Address: machine},
		&registration{Source: "LIR Größe, contract 4711", Contact: "noc@example.net"},
	}
	for _, v := range good {
		if err := checkForm(v); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	// What wireguard-go would take for further lines of its configuration.
	lines := machine.WithZone("x]:1\nreplace_peers=true\npublic_key=")
	tests := map[string]struct {
		v    value
		says string
	}{
		"an endpoint with lines in its zone":   {&Record{Endpoint: lines}, "endpoint"},
		"a control endpoint with the same":     {&Record{ControlEndpoint: netip.AddrPortFrom(lines, 1).String()}, "controlEndpoint"},
		"a control endpoint that is none":      {&Record{ControlEndpoint: "n1:1"}, "controlEndpoint"},
		"a control endpoint without port":      {&Record{ControlEndpoint: "192.0.2.1:0"}, "controlEndpoint"},
		"a next hop with a zone":               {&Record{NextHop: machine.WithZone("; reboot")}, "nextHop"},
		"a link-local control address":         {&Record{ControlAddress: netip.MustParseAddr("fe80::1")}, "controlAddress"},
		"an endpoint of many":                  {&Record{Endpoint: netip.MustParseAddr("ff02::1")}, "endpoint"},
		"an endpoint on this very machine":     {&Record{Endpoint: netip.MustParseAddr("127.0.0.1")}, "endpoint"},
		"an endpoint of nobody":                {&Record{Endpoint: netip.IPv6Unspecified()}, "endpoint"},
		"an endpoint in two guises":            {&Record{Endpoint: netip.MustParseAddr("::ffff:192.0.2.1")}, "endpoint"},
		"a class that moves a cursor":          {&Record{Class: "\x1b[2J"}, "class"},
		"a program of two lines":               {&Record{Program: "1.0\nn9 member"}, "program"},
		"a long program":                       {&Record{Program: strings.Repeat("x", longestWord+1)}, "program"},
		"an entrance's key with lines":         {&Part{EntranceKey: "AAAA\nPostUp = reboot"}, "entranceKey"},
		"a key with lines":                     {&Part{PublicKey: "AAAA\nallowed_ip=::/0"}, "publicKey"},
		"a next key with lines":                {&Part{Next: &Successor{PublicKey: "\n"}}, "next.publicKey"},
		"a service that moves a cursor":        {&Attachment{Service: "web\x1b[A"}, "service"},
		"a workload's address with a zone":     {&Attachment{Address: machine.WithZone("x")}, "address"},
		"a source that is no text":             {&registration{Source: "\xff"}, "source"},
		"a contact without end":                {&registration{Contact: strings.Repeat("x", longestText+1)}, "contact"},
		"a contact that goes back in its line": {&registration{Contact: "noc\r"}, "contact"},
	}
	for name, tt := range tests {
		if err := checkForm(tt.v); err == nil || !strings.Contains(err.Error(), tt.says+":") {
			t.Errorf("%s: %v; want an error of %s", name, err, tt.says)
		}
	}
	d := Document{File: "acme.yaml\x1b[2J"}
	if err := checkForm(&d); err != nil || d.File != "" {
		t.Errorf("a document's file, which nobody signs: %q, %v; want it left out", d.File, err)
	}
	if _, err := ParseKey(root + "nodes/n1/bindings/acme/web-1/2001:db8::1%x"); err == nil {
		t.Error("the key of an address with a zone is taken")
	}
}
