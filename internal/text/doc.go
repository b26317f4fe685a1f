// Package text turns the text of a message into what a handset can be sent, and
// back: the GSM 7-bit default alphabet with its extension table (3GPP TS 23.038
// §6.2.1), UCS-2 as every network speaks it (UTF-16BE), the cut into parts that
// a 140 octet short message forces (3GPP TS 23.040 §9.2.3.24.1) and the user
// data header that joins the parts again.
//
// Plan answers the question an edge asks (which alphabet, how many parts, and
// what does each say); Split, EncodeGSM7, EncodeUCS2 and ConcatUDH are what a
// vendor link puts on the wire; Decode and ParseUDH read what came from it.
// SplitOctets and PlanBeside count and cut what is not read here: octets that are no
// text, and texts behind a user data header that says more than which part it is.
// Decoding never fails on odd octets: a customer is better served by one wrong
// character than by a message that is not delivered.
//
// The rule not to break: lengths are counted after encoding, in septets or
// UTF-16 units, never in bytes or runes; and no cut falls inside an escape pair
// or a surrogate pair.
package text
