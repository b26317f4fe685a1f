package ingress_test

import (
	"context"
	"slices"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// An MMS costs what its route takes for one, however long its text and however many its
// files; a text of the same words is paid by the part over the route for texts. Where routes
// of one priority go by the cost, that of an MMS counts.
func TestPriceOfMMS(t *testing.T) {
	b := withMMS(t)
	var first message.ID
	for id := range b.config.Vendors {
		first = id
	}
	cheap := &snapshot.Vendor{ID: message.NewID(), Name: "cheap for MMS", ProviderType: "mm4", Active: true, SupportsMMS: true, CostPerSMS: 1, CostPerMMS: 9000}
	dear := b.config.Vendors[first]
	dear.CostPerSMS, dear.CostPerMMS = 9999, 10_000
	b.config.Vendors[cheap.ID] = cheap
	b.config.Routes = []snapshot.Route{
		{ID: 1, VendorID: first, MessageType: message.SMS, RatePerMsg: 4500},
		{ID: 2, VendorID: first, MessageType: message.MMS, RatePerMsg: 20_000, Selection: "least_cost"},
		{ID: 3, VendorID: cheap.ID, MessageType: message.MMS, RatePerMsg: 18_000, Selection: "least_cost"},
	}
	b.config.Index()
	words := string(slices.Repeat([]byte("a long text "), 40))
	for _, c := range []struct {
		name  string
		files int
		price message.Micros
		parts int
	}{{"a text", 0, 4 * 4500, 4}, {"with a file", 1, 18_000, 1}, {"with ten", 10, 18_000, 1}} {
		r := b.request()
		r.Body, r.Media = words, slices.Repeat([]message.Media{{Source: "https://files.example/a.png"}}, c.files)
		out, err := b.Accept(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		if m := out.Message; m.Price.Amount != c.price || m.Segments != c.parts || !m.Price.Estimated {
			t.Errorf("%s: %s for %d parts, want %s for %d", c.name, m.Price.Amount, m.Segments, c.price, c.parts)
		}
	}
}
