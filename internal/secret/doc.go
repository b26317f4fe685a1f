// Package secret holds what keeps other people's secrets: the keyring with its
// envelopes (AES-256-GCM) for what has to be read again, such as vendor
// passwords, webhook secrets and workflow payloads; keyed hashes for what only
// has to be compared, such as API secrets; generators for the secrets that we
// hand out; and String, which keeps a secret out of logs.
//
// Every use has a key of its own, derived from the ring's by HKDF (RFC 5869),
// so that an envelope of one purpose never opens as another. A ring has one
// current key, which seals and hashes, and any number of older ones, which only
// open and check: a key is rotated by putting a new one in front, and retired
// once nothing sealed under it is left.
//
// The rule not to break: no error and no String() of this package shows a byte
// of what it was given.
package secret
