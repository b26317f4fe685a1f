// Package postgres holds the only SQL of the gateway. The journal (messages,
// parts, timeline, receipts, deliveries) is written through group commits:
// statements of many callers share one transaction, each caller is answered
// after the commit. Every statement is one unit that may run twice without
// harm, because a lost connection leaves its fate unknown.
//
// The rule not to break: a caller is told "done" only after the commit that
// holds its statement.
package postgres
