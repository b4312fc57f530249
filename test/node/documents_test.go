package node

// red and blue are the two tenants of most tests. Their default says who may
// not: what passes does so by a rule or an expose that a test can take away.
const (
	red = `network: red
nodes: [n1]
default: {inside: deny, inbound: deny, outbound: allow}
services:
  web: {ports: [tcp/80]}
  db:  {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432, tcp/9000, udp/9000]}
expose:
  - {service: web, ports: [tcp/80, udp/53]}
`
	blue = `network: blue
nodes: [n1]
default: {inside: deny, inbound: deny, outbound: allow}
services:
  api:   {ports: [tcp/80]}
  store: {ports: [tcp/6379]}
rules:
  - allow: {from: api, to: store, ports: [tcp/6379, tcp/9000, udp/9000, udp/9001]}
expose:
  - {service: api, ports: [tcp/80]}
`
)

// The ports of these documents.
const (
	webPort   = 80
	dnsPort   = 53
	dbPort    = 5432
	storePort = 6379
	bulkPort  = 9000
	asidePort = 9001
)
