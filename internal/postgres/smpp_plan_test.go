package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// fillSMPP makes all that fill has made come over SMPP: of what is owed most is
// done, one account has much that waits, and some of it was tried.
func (b *bundle) fillSMPP() {
	b.tb.Helper()
	for _, sql := range []string{
		`insert into smpp_origins (message_id, account_id, credential_id, registered, source_ton, source_npi, source, dest_ton, dest_npi, dest, answer_id)
		 select id, account_id, account_id, 1, 5, 0, 'ACME', 1, 1, to_addr::bytea, case when created_at::text ~ '[05]$' then id::text end from messages`,
		`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, state, attempts, created_at, due_at, expires_at, done_at)
		 select id, account_id, account_id, id, 'receipt', 'delivered', case when n < 20000 then 'delivered' else 'pending' end, case when n < 20000 or n % 50 = 0 then 1 else 0 end,
		   created_at, created_at, now() + n * interval '1 second', case when n < 20000 then now() end
		 from (select *, row_number() over (order by id) n from messages) m`,
		// 100,000 inbound messages wait, in conversations of ten, some for the retry of the first.
		`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, attempts, parked, created_at, due_at, expires_at, conversation)
		 select gen_random_uuid(), a.account_id, a.account_id, gen_random_uuid(), 'message', 'accepted', case when n % 100 = 0 then 1 else 0 end, n % 100 between 1 and 9,
		   now() - n * interval '1 second', now() + case when n % 100 < 10 then interval '1 minute' else interval '0' end, now() + n * interval '1 minute', n / 10
		 from (select account_id from messages limit 1) a, generate_series(1, 100000) n`,
		`insert into inbound_deliveries (message_id, position, method) select id, 1, 'smpp' from messages`,
		`insert into smpp_binds (id, credential_id, instance, mode, tls, version, seen_at) select id, account_id, 'i' || n % 8, 'receiver', true, 52, now()
		 from (select *, row_number() over (order by id) n from messages limit 2000) m`,
		`insert into smpp_credentials (id, account_id, system_id, password_hash)
		 select gen_random_uuid(), id, 'c' || n, 'x' from (select id, row_number() over () n from accounts) a`,
		analyze,
	} {
		b.exec(sql)
	}
}

// claimsByIndex fails the test unless a plan of a claim goes to each table by the
// index that is made for it.
func claimsByIndex(t *testing.T, what, plan string) {
	t.Helper()
	for index, times := range map[string]int{"smpp_deliveries_untried": 1, "smpp_deliveries_inbound": 1, "smpp_deliveries_tried": 2,
		"smpp_deliveries_message": 2, "smpp_deliveries_conversation": 3, "smpp_deliveries_expiry": 1} {
		if got := strings.Count(plan, "Index Scan using "+index); got != times {
			t.Errorf("%s: %s is used %d times, want %d:\n%s", what, index, got, times, plan)
		}
	}
}

func TestSMPPPlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// The plan that a session makes of an empty table it keeps for a good while.
	claimsByIndex(t, "young", b.explain(claimDeliveries, 4, "off"))
	b.fill()
	b.exec("insert into accounts (id, company_name, webhook_secret) select distinct account_id, 'x', ''::bytea from messages")
	b.fillSMPP()
	owed, args := advanceStatement(message.Change{MessageID: message.NewID(), To: message.StatusDelivered, Events: line(message.StatusDelivered), Owed: true})
	revise, revised := reviseStatement(message.Revision{Message: &message.Message{ID: message.NewID()}, Registered: new(byte), Tell: true}, nil, false)
	for _, q := range []struct {
		name, sql string
		params    int
		scan      string // a table that may be read from end to end
		uses      string
	}{
		{"Claim", claimDeliveries, 4, "", "smpp_deliveries_pkey"},
		{"Delivered", recordDelivered, 8, "", "smpp_deliveries_pkey"},
		{"Release", releaseDeliveries, 2, "", "smpp_deliveries_pkey"},
		{"Answered", selectAnswered, 4, "", "smpp_origins_answer"},
		{"Between", selectBetween, 5, "", "backlog_account"},
		{"Advance with owed", owed, len(args), "", "smpp_origins_pkey"},
		{"Revise", revise, len(revised), "", "smpp_origins_pkey"},
		{"Bind", insertBind, 9, "", "smpp_binds_credential"},
		{"EnterAgain", insertBindAgain, 8, "", "smpp_binds_pkey"},
		{"SurplusBinds", surplusBinds, 2, "", "smpp_binds_credential"},
		{"HeldDeliveries", selectHeld, 1, "", "smpp_deliveries_account"},
		{"EndHeld", endHeld, 2, "", "smpp_deliveries_account"},
		{"SMPPUsers", selectSMPPUsers, 6, "", "smpp_binds_credential"},
		// All live sessions are read, and they are some thousands.
		{"Sessions", selectSessionsOfAll, 7, "smpp_binds", "smpp_binds"},
		{"Session", selectSession, 1, "", "smpp_binds_pkey"},
		{"BindsToEnd", selectBindsToEnd, 1, "", "smpp_binds_end_asked"},
		{"EndSession", askEndOfBind, 1, "", "smpp_binds_pkey"},
		{"Unbind", deleteBind, 1, "", "smpp_binds_pkey"},
		// The binds of all processes are few, and the dead among them are looked for.
		{"BindsAlive", touchBinds, 2, "smpp_binds", "smpp_binds"},
	} {
		for _, seqscan := range []string{"on", "off"} {
			plan := b.explain(q.sql, q.params, seqscan)
			for _, table := range endToEnd(plan) {
				// Those of MM4 are empty here; TestMM4Plans has them.
				if table != q.scan && table != "accounts" && table != "smpp_credentials" && !strings.HasPrefix(table, "mm4_") {
					t.Errorf("%s, enable_seqscan %s, reads %s from end to end:\n%s", q.name, seqscan, table, plan)
				}
			}
			if !strings.Contains(plan, q.uses) {
				t.Errorf("%s, enable_seqscan %s, does not use %s:\n%s", q.name, seqscan, q.uses, plan)
			}
			if q.name == "Claim" {
				claimsByIndex(t, "enable_seqscan "+seqscan, plan)
			}
		}
	}
}

// Heartbeats and claims stay within their page; the end of a delivery is the only
// thing that touches an index.
func TestSMPPUpdatesStayHOT(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.owing(credential)
	bind := bindOf(credential, "a")
	b.bind(b.DB, bind, 1)
	for range 3 {
		b.alive(b.DB, "a", bind)
		b.claimed(credential, 1)
		if err := b.ReleaseDeliveries(b.ctx, "a", []message.ID{b.delivery(m)}); err != nil {
			t.Fatal(err)
		}
	}
	b.claimed(credential, 1)
	b.record(b.try1(m, message.NotificationDelivered))
	b.Close() // statistics are reported when a session ends
	b.DB = b.replica()
	for table, c := range map[string]struct{ updates, moved int }{
		"smpp_binds":      {3, 0},
		"smpp_deliveries": {3 + 3 + 1 + 1, 1},
	} {
		b.until("the statistics are in", func() bool {
			return b.count("select n_tup_upd from pg_stat_user_tables where relname = $1", table) >= c.updates
		})
		if moved := b.count("select n_tup_upd - n_tup_hot_upd from pg_stat_user_tables where relname = $1", table); moved != c.moved {
			t.Errorf("%s: %d of %d updates touched an index, want %d", table, moved, c.updates, c.moved)
		}
	}
}

// What is done does not make looking for what is due dearer: with nothing due, a
// claim reads as many pages among thousands of rows as among none.
func TestClaimCost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	m := b.owing(credential)
	b.record(b.try1(m, message.NotificationDelivered))
	pages := func() int {
		t.Helper()
		var plan string
		sql := strings.NewReplacer("$1", "'a'", "$2", "array['"+credential.String()+"'::uuid]", "$3", "array[10]", "$4", "'45 seconds'").Replace(claimDeliveries)
		rows, err := b.pool.Query(b.ctx, "explain (analyze, buffers, timing off, summary off, format json) "+sql)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			if err := rows.Scan(&plan); err != nil {
				t.Fatal(err)
			}
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
		return b.count("select (p->0->'Plan'->>'Shared Hit Blocks')::int + (p->0->'Plan'->>'Shared Read Blocks')::int from (select $1::jsonb p) x", plan)
	}
	b.exec("vacuum analyze smpp_deliveries")
	few := pages()
	began := time.Now()
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, state, attempts, expires_at, done_at)
		select gen_random_uuid(), $1, $1, gen_random_uuid(), 'receipt', 'delivered', 'delivered', 1, $2, now() from generate_series(1, 30000)`, credential, began.Add(time.Hour))
	// Some wait for their time.
	b.exec(`insert into smpp_deliveries (id, credential_id, account_id, message_id, kind, status, attempts, due_at, expires_at)
		select gen_random_uuid(), $1, $1, gen_random_uuid(), 'receipt', 'delivered', 1, now() + interval '10 minutes', $2 from generate_series(1, 2000)`, credential, began.Add(time.Hour))
	b.exec("vacuum analyze smpp_deliveries")
	if many := pages(); many > few+6 { // an index of more levels
		t.Errorf("%d pages, it was %d", many, few)
	}
}
