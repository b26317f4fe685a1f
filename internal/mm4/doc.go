// Package mm4 turns MM4 messages into mails and mails into MM4 messages (3GPP TS
// 23.140 clause 8.4): the six types with their headers, addresses and words, the
// parts of an MMS with their layout, and what a status means to a message of ours.
// It opens no connection.
//
// A Reader reads the header, checks it, and then yields the leaves of the MIME tree
// one after the other; Write does the reverse. Both stream: a part is never held
// whole, however long it is. What peers get wrong is read as it was meant where that
// is harmless, and refused by a Fault, which names the header and the cure, where two
// readers could understand different things.
//
// The header's lines are parsed, and charsets converted, by
// github.com/emersion/go-message. Its multipart reader and its decoders are not used:
// they take the boundary "b-1" for the boundary "b" with something behind it, give up
// on a preamble or a quoted-printable line of more than 4,096 octets, and on base64
// without its padding. Neither is its writer: it spells header names anew.
//
// The rule not to break: nothing from a mail reaches a header that is written unless
// it has passed Write's check, which lets no line end through.
package mm4
