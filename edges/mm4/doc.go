// Package mm4 takes MM4 mails over SMTP (3GPP TS 23.140 §8.4, RFC 5321) from the peers
// that are configured: customers' MMSCs and vendors. It reads each mail as it comes,
// spools its media, and hands it to a Desk, which commits it.
//
// Read server.go first, then session.go for what a peer says and data.go for a mail.
//
// The dialogue is spoken by github.com/emersion/go-smtp: verbs, paths, parameters, AUTH
// and the form of replies. Under it lies a link, which is what the library takes for the
// connection. It gives the library one whole command line at a time, so that nothing is
// ever read ahead of a decision. What the library does otherwise than RFC 5321 or this
// gateway's interface, the link keeps from it:
//
//   - the end of DATA, which the library misses behind CR CR LF (dots.go reads it);
//   - STARTTLS, which it goes on without when the handshake fails;
//   - BDAT, which it always offers; orders of commands, which it answers with 502 or, for
//     a second MAIL, not at all; lines that end in a bare LF (guard.go);
//   - deadlines within DATA, and 421 to sessions at shutdown, which it has none of.
//
// The rule not to break: 250 after a mail means that the Desk has committed it, and a
// mail that did not come whole never reaches the Desk.
package mm4
