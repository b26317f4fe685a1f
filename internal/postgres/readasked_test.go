package postgres

import (
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestReadAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.mmsc("acme")
	for _, want := range []bool{true, false} {
		m := b.mailed(p.ID, false, want)
		b.taken(m)
		if got, err := b.ReadAsked(b.ctx, m.Message.ID); err != nil || got != want {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	if got, err := b.ReadAsked(b.ctx, message.NewID()); err != nil || got {
		t.Errorf("of no message: %v, %v", got, err)
	}
}

func TestReadAskedPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill()
	b.exec("insert into accounts (id, company_name, webhook_secret) select distinct account_id, 'x', ''::bytea from messages")
	b.fillMM4()
	for _, seqscan := range []string{"on", "off"} {
		if plan := b.explain(selectReadAsked, 1, seqscan); !strings.Contains(plan, "mm4_origins_pkey") {
			t.Errorf("enable_seqscan %s:\n%s", seqscan, plan)
		}
	}
}
