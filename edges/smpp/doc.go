// Package smpp is the SMSC that customers bind to: SMPP 3.4 over TCP and TLS.
// It takes their messages in through edges/ingress, answers what they ask about
// them, and brings them receipts and inbound messages by deliver_sm.
//
// Read server.go first, then requests.go for what an ESME asks and deliver.go
// for what it is brought.
//
// The rule not to break: a submit is answered with ROK after its commit and
// never before, and a deliver_sm is done when the ESME says so and never before.
package smpp
