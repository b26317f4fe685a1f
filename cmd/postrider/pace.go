package main

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/notification"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/postgres"
)

// joinPace has the pacer tell of what it does, and the dry run ask it.
func (g *Gateway) joinPace() {
	log := g.Log.With("part", "pace")
	g.ingress.Pacer = g.db
	g.db.OnPace(postgres.PaceHooks{
		Events: func(m pace.Mark) []message.AccountEvent {
			list, err := notification.OfCap(g.config.Current(), m, time.Now())
			if err != nil {
				log.Error("nobody is told of a daily cap", "of", m.Name, "error", err)
			}
			return list
		},
		Marked: func(m pace.Mark) {
			log.Info("a daily cap is near or reached", "of", m.Name, "percent", m.Percent, "day", m.Day, "used", m.Used, "cap", m.Cap, "closed", m.Closed)
		},
		Waited: func(d time.Duration) { g.metrics.PaceWaiting.Observe(d.Seconds()) },
	})
}

// capsShown bounds the series of daily caps.
const capsShown = 1000

// capUse counts what is used of today's caps, by the row ids of campaigns and
// brands. Of brands that share a cap one stands for all.
func (g *Gateway) capUse(ctx context.Context) (map[string]int, error) {
	list, err := g.db.PaceToday(ctx, capsShown)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	s, names := g.config.Current(), map[string]string{}
	for id := range s.Campaigns {
		names[pace.CampaignDay(id)] = "campaign:" + id.String()
	}
	for id, b := range s.Brands {
		key, name := pace.BrandDay(b.CapKey), "brand:"+id.String()
		if first := names[key]; first == "" || name < first {
			names[key] = name
		}
	}
	out := make(map[string]int, len(list))
	for _, u := range list {
		if name := names[u.Key]; name != "" {
			out[name] = u.Used
		}
	}
	return out, nil
}

// capUsed reads how much of a daily cap is used up, by its key, and when the day ends.
func (g *Gateway) capUsed(ctx context.Context, key string) (int, time.Time, error) {
	use, err := g.db.PaceUse(ctx, []pace.Limit{{Key: key, Window: pace.PacificDay}})
	if err != nil {
		return 0, time.Time{}, err
	}
	return use[0].Used, use[0].ResetsAt, nil
}
