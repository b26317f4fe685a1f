package rest

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// sparse is a customer's server on a journal in which few messages are to the number, and in
// which looking at one that is not takes a share of the time of a search.
func sparse(t *testing.T, share time.Duration) (b *bundle, to []string) {
	b = setup(t, nil)
	b.journal.looked = func() { b.clock.advance(share) }
	for i := range 12 {
		m := &message.Message{ID: message.NewID(), AccountID: accountA, Direction: message.Outbound, Kind: message.SMS, Status: message.StatusDelivered, To: "+13105550118", CreatedAt: began.Add(time.Duration(i) * time.Second)}
		if i%5 == 1 {
			m.To = "+13105550117"
			to = append(to, m.ID.String())
		}
		b.ingress.stored = append(b.ingress.stored, m)
	}
	slices.Reverse(to)
	return b, to
}

// A list stops after a tenth of a second; pages may be short or empty, and together they are
// whole.
func TestListStopsInTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share        time.Duration // of a message that does not fit
		limit, pages int
	}{{searchTime, 50, 10}, {searchTime/2 + 1, 50, 5}, {searchTime / 8, 50, 2}, {0, 50, 1}, {searchTime, 1, 10}} {
		b, want := sparse(t, c.share)
		var got []string
		pages, next := 0, ""
		for {
			r := b.do("GET", fmt.Sprintf("/v1/messages?to=%%2B13105550117&limit=%d%s", c.limit, next), "", as("keyA"))
			document(t).check("get", "/v1/messages", r)
			page := r.json(t)
			data := page["data"].([]any)
			for _, m := range data {
				got = append(got, m.(map[string]any)["id"].(string))
			}
			until, stopped := page["searched_until"].(string)
			cursor, more := page["next_cursor"].(string)
			if short := len(data) < c.limit; stopped != (short && more) || stopped && (until < stamp(began) || until > stamp(began.Add(11*time.Second))) {
				t.Errorf("%+v: %s", c, r.body)
			}
			pages++
			if !more {
				break
			}
			next = "&cursor=" + cursor
		}
		if !slices.Equal(got, want) || pages != c.pages {
			t.Errorf("%+v: %d pages, %v, want %v", c, pages, got, want)
		}
	}
}

// An export goes on until there is nothing more, however long few messages take to be found.
func TestExportOfFew(t *testing.T) {
	t.Parallel()
	b, want := sparse(t, exportLook)
	r := b.do("GET", "/v1/messages/export?to=%2B13105550117", "", as("keyA"))
	rows, err := csv.NewReader(strings.NewReader(string(r.body))).ReadAll()
	if err != nil || len(rows) != 1+len(want) || !slices.Equal(rows[0], messageColumns) {
		t.Fatalf("%d %s, %v", r.StatusCode, r.body, err)
	}
	for i, id := range want {
		if rows[1+i][0] != id {
			t.Errorf("row %d is %s, want %s", i, rows[1+i][0], id)
		}
	}
}
