package main

// shop is the network that spans three nodes.
const shop = "shop"

// shopDocument: one page for three nodes. The world reaches web, web reaches db, and
// nobody else does.
const shopDocument = `network: shop
nodes: [n1, n2, n3]
services:
  web: {ports: [tcp/80]}
  api: {ports: [tcp/80]}
  db:  {ports: [tcp/5432, tcp/9000]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny:  {from: inside, to: db}
expose:
  - {service: web, ports: [tcp/80]}
`
