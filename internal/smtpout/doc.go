// Package smtpout hands mails to peers over SMTP (RFC 5321) and says what became of each
// recipient: MM4 messages to vendors and customers. It covers 8BITMIME (RFC 6152), SIZE
// (RFC 1870), enhanced status codes (RFC 2034, RFC 3463), STARTTLS (RFC 3207), TLS from
// the first octet (RFC 8314), and AUTH with PLAIN and LOGIN (RFC 4954, RFC 4616). It
// neither pipelines nor chunks: a mail costs a handful of round trips, on a connection
// that is kept for the next one.
//
// A Sender keeps the connections; it keeps no mail and tries none again. The one
// exception is a kept connection that turns out to be dead before it has answered MAIL:
// then nothing of the mail has been said, and a new connection is made.
//
// The rule not to break: custody passes with the answer to the final dot, so a
// connection that is lost between the two leaves the mail in doubt (Error.Ambiguous), and
// whatever happens after a positive answer changes nothing. A final dot is written only
// behind a content that is whole; a mail that breaks off takes its connection with it.
//
// Errors and logs hold no address, no text and no password. What a peer says may hold
// the first two; it is in Outcome.Text alone, for the record.
package smtpout
