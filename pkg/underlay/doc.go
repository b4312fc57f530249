// Package underlay looks at this machine's connection to the world: which of its
// addresses last, and whether the upstream's routing leads here what is meant for here.
//
// It looks for the latter by packets of its own, and lets nobody else in for it. A packet into tenant
// space passes the lockdown's XDP program, which leaves it to the program at tc, and
// that one drops it where nobody has the address. Between the two the kernel shows it
// to packet sockets: that is where a probe that came back is seen, and it goes no
// further. Routers' errors about a probe come as those about any flow that the host
// started. So no rule of the lockdown is opened for it, and nothing answers.
//
// It must not know networks, the registry, the plan or the datapath's maps.
package underlay
