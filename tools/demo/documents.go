package main

import "strings"

const (
	acme   = "acme"
	globex = "globex"
)

// The ports that the demo uses.
const (
	webPort   = 80
	dbPort    = 5432
	storePort = 6379
	bulkPort  = 9000 // transfers that run while something changes
)

// acmeDocument: the world reaches web, web reaches db, and nobody else does.
const acmeDocument = `network: acme
nodes: [n1]
services:
  web: {ports: [tcp/80]}
  db:  {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - allow: {from: web, to: db, ports: [tcp/9000, udp/9000]}
  - deny:  {from: inside, to: db}
expose:
  - {service: web, ports: [tcp/80]}
`

// acmeClosed is acme without the rule for transfers from web to db.
var acmeClosed = strings.Replace(acmeDocument,
	"  - allow: {from: web, to: db, ports: [tcp/9000, udp/9000]}\n", "", 1)

// globexDocument: one tenant service of acme may call api; store keeps to
// itself and may not even call out.
const globexDocument = `network: globex
nodes: [n1]
services:
  api:   {ports: [tcp/80]}
  store: {ports: [tcp/6379]}
rules:
  - allow: {from: acme/web, to: api, ports: [tcp/80]}
  - allow: {from: api, to: store, ports: [tcp/6379, tcp/9000, udp/9000]}
  - deny:  {from: inside, to: store}
  - deny:  {from: store, to: outside}
`
