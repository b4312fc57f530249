package lab

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// homeRules are those of a router at home: what comes from inside goes out under the
// router's own address, and from outside come only answers.
const homeRules = `
table inet home {
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "near" oifname "far" accept
		ct state established,related accept
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "far" masquerade
	}
}
`

// masquerade makes router the NAT of a machine that is at the given site.
func masquerade(router, machine *Machine, site int) error {
	if err := router.forward(); err != nil {
		return err
	}
	if err := router.Route(anyIPv4, RouterIPv4); err != nil {
		return err
	}
	if err := machine.Route(anyIPv4, homeIPv4(site, 1)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nft := router.Command(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(homeRules)
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: load the rules of its NAT (nft -f -): %w\n%s", router.Name, err, out)
	}
	return nil
}
