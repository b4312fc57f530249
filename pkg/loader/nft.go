package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The backstop is an nftables table that drops what reaches the host through an
// interface that nobody has locked yet. It knows interfaces by index, so that one
// that comes under a known name is not known:
//
//	table inet zosnet_early {
//		set known { type iface_index }
//		chain input {
//			type filter hook input priority raw; policy drop;
//			iif "lo" accept
//			iif @known accept
//		}
//	}
const (
	backstopTable = "zosnet_early"
	backstopSet   = "known"
	loopback      = 1 // ifindex of lo in every network namespace
)

// PutBackstop makes the interfaces given, by ifindex, the ones that the backstop
// lets pass, in one transaction. It makes the table where that is missing.
func PutBackstop(known []uint32) error {
	return changeBackstop(func(c *nftables.Conn, set *nftables.Set, fresh bool) error {
		if !fresh {
			c.FlushSet(set)
		}
		return c.SetAddElements(set, elements(known))
	})
}

// ExtendBackstop lets more interfaces pass, and makes the table where that is
// missing.
func ExtendBackstop(known []uint32) error {
	return changeBackstop(func(c *nftables.Conn, set *nftables.Set, _ bool) error {
		return c.SetAddElements(set, elements(known))
	})
}

// RemoveBackstop removes the table. Its absence is no error.
func RemoveBackstop() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink socket for nftables: %w", err)
	}
	table, err := findBackstop(c)
	if err != nil || table == nil {
		return err
	}
	c.DelTable(table)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove table inet %s: %w", backstopTable, err)
	}
	return nil
}

// Backstop gives the interfaces, by ifindex in order, that the backstop lets pass;
// present says whether there is one.
func Backstop() (known []uint32, present bool, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, false, fmt.Errorf("open netlink socket for nftables: %w", err)
	}
	table, err := findBackstop(c)
	if err != nil || table == nil {
		return nil, false, err
	}
	elements, err := c.GetSetElements(setOf(table))
	if err != nil {
		return nil, true, fmt.Errorf("read set %s of table inet %s: %w", backstopSet, backstopTable, err)
	}
	for _, e := range elements {
		known = append(known, binaryutil.NativeEndian.Uint32(e.Key))
	}
	slices.Sort(known)
	return known, true, nil
}

func changeBackstop(change func(*nftables.Conn, *nftables.Set, bool) error) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink socket for nftables: %w", err)
	}
	table, err := findBackstop(c)
	if err != nil {
		return err
	}
	fresh := table == nil
	if fresh {
		if table, err = addBackstop(c); err != nil {
			return fmt.Errorf("write table inet %s: %w", backstopTable, err)
		}
	}
	if err := change(c, setOf(table), fresh); err != nil {
		return fmt.Errorf("write table inet %s: %w", backstopTable, err)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write table inet %s: %w; is nf_tables in the kernel (modprobe nf_tables)?", backstopTable, err)
	}
	return nil
}

func findBackstop(c *nftables.Conn) (*nftables.Table, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == backstopTable {
			return t, nil
		}
	}
	return nil, nil
}

func setOf(table *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: table, Name: backstopSet, KeyType: nftables.TypeIFIndex,
		KeyByteOrder: binaryutil.NativeEndian,
	}
}

func addBackstop(c *nftables.Conn) (*nftables.Table, error) {
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: backstopTable})
	set := setOf(table)
	if err := c.AddSet(set, nil); err != nil {
		return nil, err
	}
	drop := nftables.ChainPolicyDrop
	chain := c.AddChain(&nftables.Chain{
		Name: "input", Table: table, Type: nftables.ChainTypeFilter, Policy: &drop,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRaw,
	})
	input := &expr.Meta{Key: expr.MetaKeyIIF, Register: 1}
	accept := &expr.Verdict{Kind: expr.VerdictAccept}
	isLoopback := &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(loopback)}
	isKnown := &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{input, isLoopback, accept}})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{input, isKnown, accept}})
	return table, nil
}

func elements(known []uint32) []nftables.SetElement {
	list := make([]nftables.SetElement, len(known))
	for i, ifindex := range known {
		list[i].Key = binaryutil.NativeEndian.PutUint32(ifindex)
	}
	return list
}
