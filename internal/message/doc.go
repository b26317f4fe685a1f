// Package message holds the words of the gateway: what a message, a status, an
// address, a segment, a receipt and a reason are, and which changes of status
// are legal. Every other package speaks in these types; this one knows none of
// them, does no I/O and holds no state.
//
// The rule not to break: a status changes only as Status.CanBecome allows, and
// a failure is named only by a Reason of the catalogue.
package message
