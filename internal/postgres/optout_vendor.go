package postgres

import "github.com/postrider/postrider/internal/message"

// optOut records what a vendor's answer tells of the recipient, with its events. It
// takes its turn among the writers of opt-outs, behind the message's row: of two
// processes that wait for each other over these, one is told to and goes again.
func (w *writer) optOut(c message.Change) {
	o := c.OptOut
	texts := []string{string(o.Recipient), string(o.Scope), string(o.Sender), o.CampaignID, storable(o.Keyword), string(o.Source), storable(o.Actor), storable(o.Reason)}
	values := w.arg(o.ID, "uuid") + ", m.account_id"
	for _, t := range texts {
		values += ", " + w.arg(t, "text")
	}
	values += ", " + w.arg(idOrNull(o.MessageID), "uuid") + ", coalesce(" + w.arg(timeOrNull(o.At), "timestamptz") + ", now())"
	w.clause("opt_out", `insert into opt_outs (id, account_id, recipient, scope, sender, campaign_id, keyword, source, actor, reason, message_id, created_at)
  select `+values+`
  from moved m
  on conflict (account_id, recipient, scope, sender, campaign_id) where active do nothing
  returning account_id, version`)
	if e := c.OptOutEvent; e != nil {
		w.accountEvent(e, "opt_out")
	}
}

// accountEvent is recordEvents within the statement of a change: it happens if the clause
// `when` has a row.
func (w *writer) accountEvent(e *message.AccountEvent, when string) {
	w.clause("account_event", `insert into account_events (id, account_id, type, payload)
  select `+w.arg(e.ID, "uuid")+", o.account_id, "+w.arg(e.Type, "text")+", "+w.arg(e.Payload, "text")+`
  from `+when+" o")
	notes := e.Deliveries
	if len(notes) == 0 {
		return
	}
	given := func(of func(message.Notification) string) string { return w.arg(pick(notes, of), "text[]") }
	ids := w.arg(pick(notes, func(n message.Notification) message.ID { return n.ID }), "uuid[]")
	w.clause("account_event_told", `insert into webhook_deliveries (id, event_id, account_id, endpoint_id, type, url, failover_url, payload)
  select n.id, n.event_id, o.account_id, n.endpoint_id, n.type, n.url, n.failover_url, n.payload
  from `+when+" o, unnest("+ids+", "+
		w.arg(pick(notes, func(n message.Notification) message.ID { return n.EventID }), "uuid[]")+", "+
		w.arg(pick(notes, func(n message.Notification) *message.ID { return idOrNull(n.EndpointID) }), "uuid[]")+", "+
		given(func(n message.Notification) string { return n.Type })+", "+
		given(func(n message.Notification) string { return n.URL })+", "+
		given(func(n message.Notification) string { return n.FailoverURL })+", "+
		given(func(n message.Notification) string { return n.Payload })+`)
    as n (id, event_id, endpoint_id, type, url, failover_url, payload)
  on conflict do nothing
  returning id`)
	w.clause("account_event_due", `insert into webhooks_due (delivery_id, due_at)
  select t.id, now() - interval '60 seconds'
  from account_event_told t
  on conflict do nothing`)
}
