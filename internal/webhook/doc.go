// Package webhook delivers events to the URLs of customers: it signs them
// (Standard Webhooks 1.0.0, and X-Signature for consumers of the older form),
// tells when to try again, and posts them through a client that cannot be
// turned against the network it runs in.
//
// Sender makes one try and says what came of it; it keeps no event. The journal
// row and its workflow carry the event from try to try, by Next.
//
// The rule not to break: an address is judged when it is dialled (Policy), not
// only when the URL is stored, because the name may have been pointed elsewhere
// since; and no error shows more of a URL than its host.
package webhook
