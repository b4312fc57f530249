package spec

import (
	"regexp"
	"strconv"
)

// ICMPv6Any is what an ICMPv6 entry's Last is where it stands for every type;
// First is 0 then.
const ICMPv6Any = 65535

// icmpv6Types are the ICMPv6 types that a document can name (IANA
// icmpv6-parameters), in the order of their numbers.
var icmpv6Types = []struct {
	number uint8
	name   string
}{
	{1, "destination-unreachable"},
	{2, "packet-too-big"},
	{3, "time-exceeded"},
	{4, "parameter-problem"},
	{128, "echo-request"},
	{129, "echo-reply"},
	{130, "multicast-listener-query"},
	{131, "multicast-listener-report"},
	{132, "multicast-listener-done"},
	{133, "router-solicitation"},
	{134, "router-advertisement"},
	{135, "neighbor-solicitation"},
	{136, "neighbor-advertisement"},
	{137, "redirect"},
	{139, "node-information-query"},
	{140, "node-information-response"},
	{143, "multicast-listener-report-v2"},
}

var numberPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,4})$`)

// ICMPv6TypeName gives the name of an ICMPv6 type, such as "echo-request", or
// its number where it has none here.
func ICMPv6TypeName(number uint8) string {
	for _, t := range icmpv6Types {
		if t.number == number {
			return t.name
		}
	}
	return strconv.Itoa(int(number))
}

// ParseICMPv6Type gives the number of an ICMPv6 type from its name or its
// number, or false.
func ParseICMPv6Type(text string) (uint8, bool) {
	for _, t := range icmpv6Types {
		if t.name == text {
			return t.number, true
		}
	}
	if !numberPattern.MatchString(text) {
		return 0, false
	}
	number, err := strconv.ParseUint(text, 10, 8)
	return uint8(number), err == nil
}

// ruleFree says whether rules have no say about an ICMPv6 type: errors (RFC
// 4443, section 2.1: types below 128), MLD and ND have guards of their own.
func ruleFree(number uint16) bool {
	return number < 128 || number >= 130 && number <= 137 || number == 143
}
