package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sort"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/policy"
	"github.com/postrider/postrider/internal/snapshot"
	"github.com/postrider/postrider/internal/stack"
)

// What a large installation is configured by.
const (
	manyAccounts  = 10_000
	manyNumbers   = 100_000
	manyBinds     = 2_000
	manyBrands    = 5_000
	manyEndpoints = 1_000
	manyRoutes    = 500
	manyVendors   = 20
)

// crowd makes the configuration of a large installation: each account has a brand
// and a campaign or none, an API key, and ten numbers.
func (b *bundle) crowd() {
	b.tb.Helper()
	accounts := make([]message.ID, manyAccounts)
	b.copy("accounts", manyAccounts, []string{"id", "external_id", "company_name", "allowed_source_addresses", "webhook_secret"}, func(i int) []any {
		accounts[i] = message.NewID()
		return []any{accounts[i], fmt.Sprintf("crm-%06d", i), fmt.Sprintf("Company %06d", i), []string{"ACME"}, b.sealer.Seal(fmt.Appendf(nil, "whsec_%064d", i), accounts[i][:])}
	})
	b.copy("api_credentials", manyAccounts, []string{"id", "account_id", "name", "key", "secret_hash", "scopes"}, func(i int) []any {
		return []any{message.NewID(), accounts[i], "shop", fmt.Sprintf("pk_%032d", i), fmt.Appendf(nil, "%032d", i), []string{"messages:write", "messages:read", "usage:read"}}
	})
	b.copy("smpp_credentials", manyBinds, []string{"id", "account_id", "system_id", "password_hash"}, func(i int) []any {
		return []any{message.NewID(), accounts[i], fmt.Sprintf("esme%06d", i), fmt.Sprintf("$2a$10$%053d", i)}
	})
	b.copy("webhook_endpoints", manyEndpoints, []string{"id", "account_id", "url", "secret"}, func(i int) []any {
		id := message.NewID()
		return []any{id, accounts[i], fmt.Sprintf("https://shop%06d.example/hooks", i), b.sealer.Seal(fmt.Appendf(nil, "whsec_%064d", i), id[:])}
	})
	vendors := make([]message.ID, manyVendors)
	b.copy("vendors", manyVendors, []string{"id", "instance_name", "password"}, func(i int) []any {
		vendors[i] = message.NewID()
		return []any{vendors[i], fmt.Sprintf("vendor%02d", i), b.sealer.Seal([]byte("s3cr3t"), vendors[i][:])}
	})
	brands, campaigns := make([]message.ID, manyBrands), make([]message.ID, manyBrands)
	b.copy("brands", manyBrands, []string{"id", "account_id", "brand_id", "name", "status", "identity_status", "tier", "daily_cap", "cap_key"}, func(i int) []any {
		brands[i] = message.NewID()
		return []any{brands[i], accounts[i], fmt.Sprintf("B%06d", i), fmt.Sprintf("Company %06d", i), "approved", "VERIFIED", "TOP", 200_000, fmt.Sprintf("EIN-%06d", i)}
	})
	b.copy("campaigns", manyBrands, []string{"id", "account_id", "campaign_id", "brand", "use_case", "class", "status", "throughput_limit"}, func(i int) []any {
		campaigns[i] = message.NewID()
		return []any{campaigns[i], accounts[i], fmt.Sprintf("C%06d", i), brands[i], "MIXED", "A", "active", 4500}
	})
	b.copy("numbers", manyNumbers, []string{"number", "account_id", "vendor_id", "type", "campaign", "tag"}, func(i int) []any {
		// Toll-free numbers need no campaign; those of the first half of the accounts
		// are long codes with one.
		owner := i % manyAccounts
		if owner < manyBrands {
			return []any{string(longCode(i)), accounts[owner], vendors[i%manyVendors], "long_code", campaigns[owner], "shop"}
		}
		return []any{fmt.Sprintf("+1833%07d", 2_000_000+i), accounts[owner], vendors[i%manyVendors], "toll_free", nil, ""}
	})
	b.copy("routing_rules", manyRoutes, []string{"priority", "dest_pattern", "vendor_id"}, func(i int) []any {
		if i == manyRoutes-1 {
			return []any{1000, nil, vendors[0]}
		}
		return []any{i, fmt.Sprintf("^(44|49|33)%04d[0-9]{3,9}$", i), vendors[i%manyVendors]}
	})
	b.exec(analyze)
}

// longCode is the i-th number.
func longCode(i int) message.Address { return message.Address(fmt.Sprintf("+1202%07d", 2_000_000+i)) }

func (b *bundle) copy(table string, n int, columns []string, row func(int) []any) {
	b.tb.Helper()
	if _, err := b.pool.CopyFrom(b.ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(n, func(i int) ([]any, error) { return row(i), nil })); err != nil {
		b.tb.Fatal(err)
	}
}

// large is a bundle with the configuration of a large installation.
func large(b *testing.B) *bundle {
	b.Helper()
	_, j := own(b, stack.PostgresConfig{})
	j.ctx = b.Context()
	j.crowd()
	return j
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSnapshotLoad reads everything.
func BenchmarkSnapshotLoad(b *testing.B) {
	j := large(b)
	before := heap()
	s, err := j.LoadSnapshot(j.ctx)
	if err != nil {
		b.Fatal(err)
	}
	held := heap() - before
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.LoadSnapshot(j.ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(held)/(1<<20), "MiB-held")
	runtime.KeepAlive(s)
}

// BenchmarkSnapshotChange measures from a committed change to the snapshot in
// force that has it.
func BenchmarkSnapshotChange(b *testing.B) {
	for _, c := range []struct{ table, sql string }{
		{"vendors", "update vendors set port = $1 where instance_name = 'vendor00'"},
		{"campaigns", "update campaigns set throughput_limit = $1 where campaign_id = 'C000000'"},
		{"accounts", "update accounts set api_rate_limit = $1 where external_id = 'crm-000000'"},
		{"numbers", `update numbers set tag = $1::integer::text where number = '+12022000000'`},
	} {
		b.Run(c.table, func(b *testing.B) {
			j := large(b)
			seen := make(chan int64, 1000)
			h := snapshot.NewHolder(j.DB, slog.New(slog.DiscardHandler))
			h.OnChange(func(s *snapshot.Snapshot) { seen <- s.Version })
			if err := h.Start(j.ctx); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(h.Stop)
			j.until("the holder listens", func() bool { return j.listeners() == 1 })
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				for len(seen) > 0 {
					<-seen
				}
				<-time.After(time.Second) // the pause after a refresh is not what is measured
				b.StartTimer()
				began := time.Now()
				j.exec(c.sql, 1+i%60_000)
				want := j.version()
				for v := range seen {
					if v >= want {
						break
					}
				}
				took = append(took, time.Since(began))
			}
			sort.Slice(took, func(i, k int) bool { return took[i] < took[k] })
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-max")
		})
	}
}

// BenchmarkSnapshotBurst changes a thousand numbers a second, each by itself, and
// measures how often that is read and how late the last change is in force.
func BenchmarkSnapshotBurst(b *testing.B) {
	const changes, burst = 5000, 5 * time.Second
	j := large(b)
	h := snapshot.NewHolder(j.DB, slog.New(slog.DiscardHandler))
	var reads atomic.Int64
	var reading atomic.Int64 // nanoseconds
	h.OnRefresh(func(took time.Duration, err error) {
		if err != nil {
			b.Error(err)
		}
		reads.Add(1)
		reading.Add(int64(took))
	})
	if err := h.Start(j.ctx); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Stop)
	var refreshes, lateness, taken time.Duration
	for b.Loop() {
		reads.Store(0)
		reading.Store(0)
		began := time.Now()
		for i := range changes {
			<-time.After(time.Until(began.Add(time.Duration(i) * burst / changes)))
			j.exec("update numbers set tag = $1::integer::text where number = $2", i, longCode(i%5000))
		}
		taken += time.Since(began)
		last, want := time.Now(), j.version()
		j.until("the last change is in force", func() bool { return h.Current().Version >= want })
		lateness += time.Since(last)
		refreshes += time.Duration(reads.Load())
		b.ReportMetric(time.Duration(reading.Load()).Seconds(), "s-reading")
	}
	b.ReportMetric(float64(refreshes)/taken.Seconds(), "refreshes/s")
	b.ReportMetric(float64(b.N*changes)/taken.Seconds(), "changes/s")
	b.ReportMetric(float64(lateness.Milliseconds())/float64(b.N), "ms-last")
}

// BenchmarkSnapshotEvaluate asks the whole policy about messages of all accounts
// at once.
func BenchmarkSnapshotEvaluate(b *testing.B) {
	j := large(b)
	s, err := j.LoadSnapshot(context.WithoutCancel(j.ctx))
	if err != nil {
		b.Fatal(err)
	}
	for _, routes := range []int{20, manyRoutes} {
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			few := *s
			few.Routes = s.Routes[len(s.Routes)-routes:] // the last takes everything
			few.Index()
			evaluate(b, &few)
		})
	}
}

func evaluate(b *testing.B, s *snapshot.Snapshot) {
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		m := &message.Message{Direction: message.Outbound, Kind: message.SMS, To: "+13105550117", Segments: 1, Edge: "rest"}
		for pb.Next() {
			i := int(next.Add(7919)) % manyNumbers
			if i%manyAccounts >= manyBrands {
				i -= manyBrands
			}
			m.From = longCode(i)
			m.AccountID = s.Numbers[m.From].AccountID
			if d := policy.Evaluate(s, policy.Question{Message: m, Now: s.LoadedAt}); d.Error != nil {
				b.Error(d.Error)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}
