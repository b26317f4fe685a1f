package postgres

import (
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/registry"
	"github.com/postrider/postrider/internal/registry/registrytest"
)

// Several replicas share what is due: each row is looked at once.
func TestReplicasShareTheLooks(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	b := o.approved(-1)
	var ids []string
	for range 12 {
		ids = append(ids, o.filed(b).CampaignID)
	}
	o.exec("update registry_syncs set next_at = now() - interval '1 second' where kind = 'campaign'")
	before := o.fake.Calls("GET /v2/campaign/{id}")
	var wg sync.WaitGroup
	for range 3 {
		replica := *o.registrar
		replica.Store = o.replica()
		wg.Go(func() {
			for n := 1; n > 0; {
				var err error
				if n, err = replica.Work(o.ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := o.fake.Calls("GET /v2/campaign/{id}") - before; n != len(ids) {
		t.Errorf("%d looks at %d campaigns", n, len(ids))
	}
	if n := o.count("select count(*) from registry_syncs where kind = 'campaign' and failures = 0 and next_at between now() + interval '2 minutes' and now() + interval '4 minutes'"); n != len(ids) {
		t.Errorf("%d are due again in their time, want %d", n, len(ids))
	}
}

// A registry that is away, limits or has lost a campaign changes no status, and is
// asked less and less often.
func TestFailedLooksChangeNothing(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	c := o.filed(o.approved(-1))
	o.fake.SetCarrier(c.CampaignID, registry.ATT, "APPROVED", nil)
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	away := registrytest.Fault{Status: 503}
	for i, faults := range [][]registrytest.Fault{{away, away, away}, {{Status: 404}}, {{Status: 429, RetryAfter: "7200"}}, {{Body: "no JSON"}, {Body: "no JSON"}, {Body: "no JSON"}}} {
		o.fake.Fail("GET /v2/campaign/{id}", faults...)
		o.exec("update registry_syncs set next_at = now() where target = $1", c.ID)
		if _, err := o.registrar.Work(o.ctx); err != nil {
			t.Fatal(err)
		}
		if n := o.count("select failures from registry_syncs where target = $1 and last_error <> ''", c.ID); n != i+1 {
			t.Errorf("%d failures, want %d", n, i+1)
		}
		if got := o.readCampaign(c.ID); got.Status != registry.Active {
			t.Errorf("it is %s now", got.Status)
		}
	}
	if n := o.count("select count(*) from registry_syncs where target = $1 and next_at > now() + interval '6 minutes'", c.ID); n != 1 {
		t.Error("the pause has not grown")
	}
	o.ok(o.registrar.SyncCampaign(o.ctx, staff, c.ID))
	if n := o.count("select failures from registry_syncs where target = $1", c.ID); n != 0 {
		t.Errorf("%d failures after one that worked", n)
	}
}
