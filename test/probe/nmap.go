package probe

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
)

// Scan is what nmap found out about one address.
type Scan struct {
	Quiet    int      // ports or protocols that gave no sign whatever
	Answered []string // the others, as "tcp/80 open (syn-ack)", sorted
}

// nmapRun is the part of nmap's XML (nmap.dtd) that tells about ports.
type nmapRun struct {
	Hosts []struct {
		Ports struct {
			Extra []struct {
				State   string `xml:"state,attr"`
				Reasons []struct {
					Reason string `xml:"reason,attr"`
					Count  int    `xml:"count,attr"`
					Ports  string `xml:"ports,attr"`
				} `xml:"extrareasons"`
			} `xml:"extraports"`
			Port []struct {
				Protocol string `xml:"protocol,attr"`
				ID       string `xml:"portid,attr"`
				State    struct {
					State  string `xml:"state,attr"`
					Reason string `xml:"reason,attr"`
				} `xml:"state"`
			} `xml:"port"`
		} `xml:"ports"`
	} `xml:"host"`
}

// Nmap scans an address from the machine, without ping and name look-ups.
// Args choose the kind of scan and its ports: "-sS", "-p-". Whatever its state
// is called, a port counts as answered unless nmap's reason is no-response.
func Nmap(ctx context.Context, from *lab.Machine, target netip.Addr, args ...string) (Scan, error) {
	all := []string{"-n", "-Pn", "-oX", "-"}
	if target.Is6() {
		all = append(all, "-6")
	}
	all = append(append(all, args...), target.String())
	cmd := from.Command(ctx, "nmap", all...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Scan{}, fmt.Errorf("nmap %s on %s: %w: %s", strings.Join(all, " "), from.Name, err, stderr.String())
	}
	scan, err := parseNmap(out)
	if err != nil {
		return scan, fmt.Errorf("nmap %s on %s: %w: %s", strings.Join(all, " "), from.Name, err, stderr.String())
	}
	return scan, nil
}

func parseNmap(text []byte) (Scan, error) {
	var run nmapRun
	var scan Scan
	if err := xml.Unmarshal(text, &run); err != nil {
		return scan, fmt.Errorf("read its XML: %w", err)
	}
	const silence = "no-response"
	for _, host := range run.Hosts {
		for _, port := range host.Ports.Port {
			if port.State.Reason == silence {
				scan.Quiet++
				continue
			}
			scan.Answered = append(scan.Answered, fmt.Sprintf("%s/%s %s (%s)",
				port.Protocol, port.ID, port.State.State, port.State.Reason))
		}
		for _, extra := range host.Ports.Extra {
			for _, reason := range extra.Reasons {
				if reason.Reason == silence {
					scan.Quiet += reason.Count
					continue
				}
				scan.Answered = append(scan.Answered, fmt.Sprintf("%s %s (%s)", reason.Ports, extra.State, reason.Reason))
			}
		}
	}
	sort.Strings(scan.Answered)
	// A scan that sent nothing must not pass for silence.
	if scan.Quiet+len(scan.Answered) == 0 {
		return scan, fmt.Errorf("it tells of no port at all")
	}
	return scan, nil
}
