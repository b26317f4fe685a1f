// Package gate is the door of the web pages: it signs people in, and lets nobody else
// through. There is one Gate for staff at /console and one for the users of accounts at
// /portal; what they share is this code, and nothing that is stored.
//
// # A sign-in
//
// Who gives an address and its password gets a session: a row with the keyed hash of a
// token that a cookie carries. If a second factor is on, the session waits, and opens
// nothing but the page that asks for the code; when that is right, the token is another
// one. Passwords that are wrong are counted as they are at the token endpoint of the
// internal API, under the same keys, and an address that is not known costs and looks
// like one that is.
//
// # A session
//
// Every request reads the session with its owner, so that a changed password, somebody
// who is no longer active and a suspended account end it at once, in every process. The
// token rotates; see postgres.WebSession. What a session belongs to is in the context of
// the handler behind the gate: PersonOf.
//
// # Forms
//
// Whatever is no GET or HEAD carries the session's CSRF token, in the field csrf or the
// header X-CSRF-Token, and does not come from another origin. Forms before the sign-in
// carry one that belongs to a cookie of their own.
//
// # Links
//
// A link is good once. Looking at it uses nothing, since mail scanners look; the form on
// it does.
//
// The rule not to break: nothing that lets somebody in (password, code, token, link) is
// logged, put into an error, or stored other than hashed or sealed.
package gate
