package control

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

var (
	table  = &nftables.Table{Family: nftables.TableFamilyINet, Name: filterTable}
	accept = nftables.ChainPolicyAccept
)

// putFilter writes the table anew, in one transaction, unless it is so already, and
// tells whether it did.
func putFilter(want filter) (written bool, err error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open netlink socket for nftables: %w", err)
	}
	if same, err := holds(c, want); err == nil && same { // what cannot be read is written
		return false, nil
	}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	for _, name := range slices.Sorted(maps.Keys(want.sets)) {
		if err := c.AddSet(portSet(name), elements(want.sets[name])); err != nil {
			return false, fmt.Errorf("write table inet %s: %w", filterTable, err)
		}
	}
	for _, w := range want.chains {
		chain := c.AddChain(baseChain(w))
		for _, rule := range w.rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
		}
	}
	if err := c.Flush(); err != nil {
		return false, fmt.Errorf("write table inet %s: %w; is nf_tables in the kernel (modprobe nf_tables)?", filterTable, err)
	}
	return true, nil
}

func removeFilter() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink socket for nftables: %w", err)
	}
	c.AddTable(table)
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove table inet %s: %w", filterTable, err)
	}
	return nil
}

// holds tells whether the table is what it should be, somebody else's change too.
func holds(c *nftables.Conn, want filter) (bool, error) {
	for name, ports := range want.sets {
		have, err := c.GetSetElements(portSet(name))
		if err != nil || !sameKeys(have, elements(ports)) {
			return false, err
		}
	}
	all, err := c.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return false, err
	}
	all = slices.DeleteFunc(all, func(c *nftables.Chain) bool { return c.Table.Name != filterTable })
	if len(all) != len(want.chains) {
		return false, nil
	}
	for _, w := range want.chains {
		base := baseChain(w)
		if !slices.ContainsFunc(all, func(c *nftables.Chain) bool { return reflect.DeepEqual(c, base) }) {
			return false, nil
		}
		rules, err := c.GetRules(table, base)
		if err != nil || !sameRules(rules, w.rules) {
			return false, err
		}
	}
	return true, nil
}

func sameKeys(a, b []nftables.SetElement) bool {
	keys := func(list []nftables.SetElement) (keys []string) {
		for _, e := range list {
			keys = append(keys, string(e.Key))
		}
		slices.Sort(keys)
		return keys
	}
	return slices.Equal(keys(a), keys(b))
}

func sameRules(have []*nftables.Rule, want [][]expr.Any) bool {
	return slices.EqualFunc(have, want, func(r *nftables.Rule, exprs []expr.Any) bool {
		return reflect.DeepEqual(r.Exprs, exprs)
	})
}

func baseChain(c chain) *nftables.Chain {
	return &nftables.Chain{
		Name: c.name, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: c.hook, Priority: nftables.ChainPriorityFilter, Policy: &accept,
	}
}

func portSet(name string) *nftables.Set {
	return &nftables.Set{Table: table, Name: name, KeyType: nftables.TypeInetService}
}

func elements(ports []uint16) []nftables.SetElement {
	list := make([]nftables.SetElement, len(ports))
	for i, port := range ports {
		list[i].Key = binaryutil.BigEndian.PutUint16(port)
	}
	return list
}
