// Package smpp holds SMPP 3.4 as both roles need it: the codec of single PDUs,
// the framing of a socket, the session core that an SMSC and an ESME share, and
// the small notations that ride on PDUs (receipts, times, concatenation).
//
// The vocabulary (command ids, command_status, TLV tags, the header) is that of
// github.com/linxGnu/gosmpp. Its parser and its client session are not used:
// the parser panics on a query_sm with a TLV and keeps no field limits, the
// session drops submits without telling.
//
// The rule not to break: everything read from a socket is bounded before it is
// allocated, and a request that was handed to the socket and got no answer is
// reported as written, never as safe to repeat.
package smpp
