// Package controlplane is this node's part in a grid: it makes the control interface,
// proves the node by its certificate, keeps the grid's registry as a member or follows it
// as a client, and where the node has the CA's key lets others in, makes members of them
// and takes them out.
//
// A [Plane] comes up whenever the node is in a grid, and what fails is tried again;
// nothing of the node's own networks waits for it. What it keeps for the next start is in
// [grid.Home], what others may know of the node in the registry.
//
// It must not know networks, their documents, the plan, maps or the API: the daemon reads the
// grid's registry through [Plane.Registry] and does with it what it likes.
package controlplane
