// Package origin tells who is behind a connection: its address, what an address
// counts as, and the peer that a proxy names in the header of the PROXY protocol.
//
// The rule not to break: a header is read from configured proxies only. Of anybody
// else it would be a lie that costs nothing.
package origin
