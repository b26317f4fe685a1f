// Package rest is the customers' HTTP edge: it takes messages at
// POST /v1/messages, shows what became of them, gives out access tokens, and
// describes itself in an OpenAPI document and pages drawn from it.
//
// A request passes, in this order: receive (request id, headers that every
// answer has, recovery, measurement), guard (who is it, within its rate, with
// the scope), and its operation, which decodes, calls ingress or the journal
// and encodes. Operations are registered with huma, so the document is made
// from the types that are served. Bodies are decoded by a strict reader of our
// own (reader.go): it names the field and the rule in every refusal, refuses
// text that is not Unicode, and reads the body once.
//
// The rule not to break: a 202 is written only after Ingress.Accept has
// returned a stored message, and every query to the journal carries the
// account of the caller, never one that the request names.
package rest
