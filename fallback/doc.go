// Package fallback is the room of the chain OFFENDINGIPS: the verbs of package loader, for
// hosts and interfaces where XDP cannot run. Nothing is built in it yet, and nothing
// pretends otherwise: a configuration that asks for iptables is refused, and an interface
// that refuses XDP is reported as one on which no ban is in force.
package fallback
