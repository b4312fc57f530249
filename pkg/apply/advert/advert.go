// Package advert advertises a network's router to its VMs (RFC 4861, 6.2): the
// gateway, the prefix to make addresses from, and the link's MTU.
//
// It must not know why a network wants it, nor which VMs there are.
package advert
