package route_test

import (
	"context"
	"testing"
	"time"

	"github.com/postrider/postrider/activities/route"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// reviser takes the text that an MMS becomes.
type reviser struct {
	files   []message.Media
	written []message.Revision
	says    error
}

func (r *reviser) MessageMedia(context.Context, message.ID, string) ([]message.Media, error) {
	return r.files, nil
}

func (r *reviser) Revise(_ context.Context, v message.Revision) (bool, error) {
	r.written = append(r.written, v)
	return r.says == nil, r.says
}

func TestFallBackToText(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *bundle, r *reviser)
		want   bool
		writes int
	}{
		"it does":              {nil, true, 1},
		"done before":          {func(b *bundle, _ *reviser) { b.m.Kind, b.m.Requested = message.SMS, message.MMS }, true, 0},
		"ended before":         {func(b *bundle, _ *reviser) { b.m.Requested, b.m.Status = message.MMS, message.StatusCanceled }, false, 0},
		"not wanted":           {func(b *bundle, _ *reviser) { b.config.Accounts[b.m.AccountID].MMSFallback = "" }, false, 0},
		"under way":            {func(b *bundle, _ *reviser) { b.m.Status = message.StatusSending }, false, 0},
		"another revision":     {func(b *bundle, _ *reviser) { b.m.Revision = 3 }, false, 0},
		"nobody takes texts":   {func(b *bundle, _ *reviser) { clear(b.config.Vendors) }, false, 0},
		"over the usage limit": {func(_ *bundle, r *reviser) { r.says = message.Refuse(message.ReasonQuotaExceeded, "full") }, false, 1},
	} {
		b, r := setup(t), &reviser{files: []message.Media{{Position: 1, Source: "https://files.example/a.png"}}}
		account := message.NewID()
		b.config.Accounts = map[message.ID]*snapshot.Account{account: {ID: account, Status: snapshot.AccountActive, MMSFallback: snapshot.MMSFallbackLink, ContentRetentionDays: 30, MaxParts: 10}}
		b.config.Routes[0].RatePerMsg = 4500
		b.m.AccountID, b.m.Kind, b.m.Status, b.m.Body, b.m.CreatedAt, b.m.ExpiresAt = account, message.MMS, message.StatusQueued, "look", time.Now(), time.Now().Add(time.Hour)
		if c.change != nil {
			c.change(b, r)
		}
		b.journal.Put(b.m)
		b.steps.Reviser, b.steps.MediaURL = r, func(message.MediaFile) string { return "" }
		got, err := b.steps.FallBackToText(context.Background(), route.FallBackInput{MessageID: b.m.ID, Reason: message.ReasonMediaRejected})
		if err != nil || got != c.want || len(r.written) != c.writes {
			t.Errorf("%s: %t, %v, %d writes", name, got, err, len(r.written))
		}
		if c.want && c.writes > 0 {
			if v := r.written[0]; !v.FellBack || v.Message.Kind != message.SMS || v.Message.Body != "look\nhttps://files.example/a.png" || v.Message.Price.Amount != 4500 {
				t.Errorf("%s: %+v", name, v.Message)
			}
		}
	}
}
