package gridstore

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestWord bounds what a node says of itself in words, in bytes; longestText what
// people are to read.
const (
	longestWord = 256
	longestText = 1024
)

// checkForm refuses what no node says of itself, though its signature fits: an address
// that is none of a machine, and text that is none. What others say goes into the
// configuration of devices and onto terminals, and the zone of an IPv6 address may be
// any text, also lines of such a configuration.
func checkForm(v value) error {
	switch v := v.(type) {
	case *Record:
		return errors.Join(
			checkMachine("endpoint", v.Endpoint), checkControlEndpoint(v.ControlEndpoint),
			checkMachine("controlAddress", v.ControlAddress), checkMachine("nextHop", v.NextHop),
			checkWord("class", v.Class), checkWord("program", v.Program), checkWord("controlPublicKey", v.ControlPublicKey))
	case *Part:
		err := errors.Join(checkWord("publicKey", v.PublicKey), checkWord("entranceKey", v.EntranceKey))
		if v.Next != nil {
			err = errors.Join(err, checkWord("next.publicKey", v.Next.PublicKey))
		}
		return err
	case *Attachment:
		return errors.Join(checkWord("service", v.Service), checkWord("kind", v.Kind), checkMachine("address", v.Address))
	case *registration:
		return errors.Join(checkText("source", v.Source), checkText("contact", v.Contact))
	case *Document:
		if checkText("file", v.File) != nil { // nobody signs it: it refuses nothing
			v.File = ""
		}
	}
	return nil
}

// checkMachine refuses an address that is not one machine's; one that is not there is
// fine.
func checkMachine(field string, a netip.Addr) error {
	if a.IsValid() && (a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast()) {
		return fmt.Errorf("%s: %q is not the address of a machine", field, a)
	}
	return nil
}

func checkControlEndpoint(text string) error {
	if text == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		return fmt.Errorf("controlEndpoint: %.*q is no address and port", longestWord, text)
	}
	return checkMachine("controlEndpoint", at.Addr())
}

func checkWord(field, s string) error {
	if strings.ContainsFunc(s, unicode.IsSpace) || len(s) > longestWord {
		return fmt.Errorf("%s: want a word of at most %d bytes", field, longestWord)
	}
	return checkText(field, s)
}

func checkText(field, s string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(s) > longestText || !utf8.ValidString(s) || strings.ContainsFunc(s, odd) {
		return fmt.Errorf("%s: want text of at most %d bytes that can be printed", field, longestText)
	}
	return nil
}
