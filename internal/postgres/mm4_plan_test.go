package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

// fillMM4 makes all that fill has made come over MM4, from a few peers.
func (b *bundle) fillMM4() {
	b.tb.Helper()
	for _, sql := range []string{
		`insert into mm4_peers (id, account_id, name) select a.id, a.id, 'p' || row_number() over () from accounts a`,
		`insert into mm4_origins (message_id, account_id, peer_id, reference, sender, recipient, system, delivery_report, read_report)
		 select id, account_id, account_id, id::text::bytea, '', '', '', true, true from messages`,
		`insert into mm4_mails (id, peer_id, kind, message_id, status, state, transaction_id, due_at, expires_at, claimed_by)
		 select gen_random_uuid(), account_id, case when n % 2 = 0 then 'forward_res' else 'delivery_report' end, id, 'delivered', case when n < 25000 then 'sent' else 'pending' end,
		   n::text::bytea, now() + (n - 27000) * interval '1 second', now() + n * interval '1 second', case when n % 1000 = 999 then 'i' || n % 3 end
		 from (select *, row_number() over (order by id) n from messages) m`,
		`insert into mm4_answers (message_id, attempt, vendor_id, status, came_at) select id, 1, account_id, 'Ok', now() - n * interval '1 second'
		 from (select *, row_number() over (order by id) n from messages) m`,
		analyze,
	} {
		b.exec(sql)
	}
}

func TestMM4Plans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	b.exec("insert into accounts (id, company_name, webhook_secret) select distinct account_id, 'x', ''::bytea from messages")
	b.fillMM4()
	owed, args := advanceStatement(message.Change{MessageID: message.NewID(), To: message.StatusDelivered, Events: line(message.StatusDelivered), OwedMM4: true})
	for _, q := range []struct {
		name, sql string
		params    int
		uses      string
	}{
		{"MM4MailsDue", claimMails, 3, "mm4_mails_due"},
		{"MM4MailTried", recordMail, 6, "mm4_mails_pkey"},
		{"ReleaseMM4", releaseMails, 1, "mm4_mails_claimed"},
		{"OweMM4", insertResponses, 10, "mm4_mails_response"},
		{"Advance with owed", owed, len(args), "mm4_origins_pkey"},
		{"MM4Read", insertReadReport, 5, "mm4_origins_pkey"},
		{"MM4Read known", selectRead, 1, "message_events"},
		{"MM4Read locks", lockMessage, 1, "messages"},
		{"PutMM4Answer", insertAnswer, 6, "segments"},
		{"TakeMM4Answers", selectAnswers, 3, "mm4_answers_pkey"},
		{"StaleMM4Answers", staleAnswers, 3, "mm4_answers_came"},
		{"MM4AnswerDone", deleteAnswer, 2, "mm4_answers_pkey"},
	} {
		for _, seqscan := range []string{"on", "off"} {
			plan := b.explain(q.sql, q.params, seqscan)
			for _, table := range endToEnd(plan) {
				if table != "mm4_peers" { // there are few
					t.Errorf("%s, enable_seqscan %s, reads %s from end to end:\n%s", q.name, seqscan, table, plan)
				}
			}
			if !strings.Contains(plan, q.uses) {
				t.Errorf("%s, enable_seqscan %s, does not use %s:\n%s", q.name, seqscan, q.uses, plan)
			}
		}
	}
	// Of these the other tables have tests of their own, and are empty here.
	for _, q := range []struct {
		name, sql string
		params    int
	}{
		{"SettleInbound", settleInbound, 3}, {"Received", selectReceived, 1}, {"Delivered", recordDelivered, 8}, {"Claim", claimDeliveries, 4}, {"EndHeld", endHeld, 2},
	} {
		for _, seqscan := range []string{"on", "off"} {
			plan := b.explain(q.sql, q.params, seqscan)
			if slices.Contains(endToEnd(plan), "mm4_origins") || !strings.Contains(plan, "mm4_origins_pkey") {
				t.Errorf("%s, enable_seqscan %s, does not use mm4_origins_pkey:\n%s", q.name, seqscan, plan)
			}
		}
	}
	// What is owed is little beside what was, and an index has it alone: it is read to its end.
	if plan := b.explain(countMails, 1, "off"); !strings.Contains(plan, "Index Only Scan using mm4_mails_due") {
		t.Errorf("CountMM4Mails does not use the index of what is owed:\n%s", plan)
	}
}
