package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
)

// site is the network namespaces of one way, by short names.
type site struct {
	name string
}

// machine gives one of its machines; the namespaces of ip-netns(8) lie there.
func (s site) machine(role string) *lab.Machine {
	return lab.NewMachine(s.namespace(role), filepath.Join("/run/netns", s.namespace(role)))
}

func (s site) namespace(role string) string { return "zosbench-" + s.name + "-" + role }

// makeSite makes empty namespaces, also in place of what a killed bench left.
func (b *bench) makeSite(name string, roles ...string) (site, error) {
	s := site{name}
	for _, role := range roles {
		ns := s.namespace(role)
		_ = exec.Command("ip", "netns", "delete", ns).Run()
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			return s, fmt.Errorf("make network namespace %s: %w\n%s", ns, err, out)
		}
		b.after(func() error { return exec.Command("ip", "netns", "delete", ns).Run() })
		for _, which := range []string{"all", "default"} {
			// A test network: no router, and no address there twice.
			for _, off := range []string{"accept_dad", "accept_ra"} {
				if err := s.machine(role).Sysctl("net/ipv6/conf/"+which+"/"+off, "0"); err != nil {
					return s, err
				}
			}
		}
	}
	return s, nil
}

// ip runs lines of ip(8), each on the machine that its first word names.
func (s site) ip(ctx context.Context, lines string) error {
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		args := append([]string{"-n", s.namespace(words[0])}, words[1:]...)
		for i, word := range args {
			if role, ok := strings.CutPrefix(word, "@"); ok {
				args[i] = s.namespace(role)
			}
		}
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// nft loads a ruleset on one of the site's machines.
func (s site) nft(ctx context.Context, role, rules string) error {
	cmd := s.machine(role).Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft on %s: %w\n%s", s.namespace(role), err, out)
	}
	return nil
}
