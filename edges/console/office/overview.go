package office

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/message"
)

// flow is what goes through within a minute or an hour, a second.
type flow struct {
	Accepted    float64
	FromVendors float64 `json:"from_vendors"`
	ToVendors   float64 `json:"to_vendors"`
	Final       float64
	ErrorRate   float64 `json:"error_rate"`
}

// pile is what waits for something.
type pile struct {
	Count         int
	OldestSeconds *int    `json:"oldest_seconds"`
	OldestID      *string `json:"oldest_id"`
}

// usedCap is a cap or limit that is near its end.
type usedCap struct {
	Kind, Name  string
	AccountID   string  `json:"account_id"`
	BrandID     *string `json:"brand_id"`
	CampaignID  *string `json:"campaign_id"`
	Number      *string
	Type        *string
	Period      string
	Used, Limit int64
	Closed      bool
	ResetsAt    string `json:"resets_at"`
}

// overviewView is how the gateway stands, as GET /overview has it.
type overviewView struct {
	At         string
	LastMinute flow `json:"last_minute"`
	LastHour   flow `json:"last_hour"`
	Lately     struct {
		Since             *string
		Outbound, Inbound map[string]int
	}
	Backlog, Unstarted, Held, Unrouted, Unmatched pile
	InDoubt                                       pile `json:"in_doubt"`
	WebhooksDue                                   pile `json:"webhooks_due"`
	WebhooksFailed                                pile `json:"webhooks_failed"`
	Caps                                          []usedCap
	Vendors                                       []vendorStatus
}

func (o *office) overview(v *site.Visit) (page.Page, error) {
	blocks, err := o.now(v)
	if err != nil {
		return page.Page{}, err
	}
	return page.Page{Title: "Overview", Lead: "What goes through the gateway now, and what needs somebody. It is counted anew every few seconds.",
		Body: []page.Block{page.Live{Path: v.At("/overview/live"), Label: "What goes through now", Body: blocks}}}, nil
}

// overviewEvery is how often the overview is counted anew for a reader.
const overviewEvery = 3 * time.Second

func (o *office) overviewLive(v *site.Visit) (page.Page, error) {
	return v.Stream(overviewEvery, func(context.Context) ([]page.Block, error) { return o.now(v) })
}

// now is the part of the overview that changes.
func (o *office) now(v *site.Visit) ([]page.Block, error) {
	var w overviewView
	if err := v.Get(api+"/overview", nil, &w); err != nil {
		return nil, err
	}
	table := page.Table{Caption: "Vendors", Empty: "There is no vendor yet.", EmptyHelp: "Messages wait until one is added.", Columns: vendorColumns}
	for _, s := range w.Vendors {
		table.Rows = append(table.Rows, vendorRow(v, s))
	}
	return []page.Block{
		verdict(v, &w),
		page.Section{ID: "rates", Title: "Now", Body: []page.Block{page.Stats{Title: "Rates", Items: rates(v, &w)}}},
		page.Section{ID: "waiting", Title: "What waits", Help: "Each figure leads to its list.", Body: []page.Block{page.Stats{Title: "What waits", Items: waiting(v, &w)}}},
		page.Section{ID: "vendors", Title: "Vendors", Actions: []page.Action{{Text: "All vendors", Href: v.At("/vendors")}}, Body: []page.Block{table}},
		page.Section{ID: "caps", Title: "Caps near their end", Help: "Daily caps of 10DLC and limits of customers of which half is used. What does not fit waits, or is refused by the customer's own limit.", Body: []page.Block{capTable(v, w.Caps)}},
		page.Section{ID: "lately", Title: "The last hour", Help: "What has become of the messages that came since then, at most the newest 20,000.", Body: []page.Block{lately(v, &w)}},
	}, nil
}

// Ages from which something is no longer just under way.
const (
	lateStart   = 30 // seconds until a workflow begins
	lateMessage = 15 * 60
	lateWebhook = 60 * 60
)

// verdict says first whether somebody has to do something.
func verdict(v *site.Visit, w *overviewView) page.Block {
	n := page.Notice{Tone: page.Good, Title: "All is well.", Text: "Nothing waits for staff, and every vendor in use is connected."}
	var bad, warn []string
	for _, s := range w.Vendors {
		switch {
		case !s.Active:
		case s.BindStatus != "connected":
			bad = append(bad, "Vendor "+s.Name+" is "+s.BindStatus+"."+lastError(s))
		case s.Health == "down":
			bad = append(bad, "Vendor "+s.Name+" is down: others are asked first."+lastError(s))
		case s.Health == "degraded":
			warn = append(warn, "Vendor "+s.Name+" is degraded: others are asked first."+lastError(s))
		case s.Paused || s.Draining:
			warn = append(warn, "Vendor "+s.Name+" takes no messages: it is "+pausedWord(s)+".")
		}
	}
	if w.LastMinute.ErrorRate >= highErrors {
		bad = append(bad, "Vendors failed at "+percent(w.LastMinute.ErrorRate)+" of the parts of the last minute.")
	}
	if late(w.Unstarted, lateStart) {
		bad = append(bad, "Accepted messages are not being started, the oldest for "+waited(w.Unstarted.OldestSeconds)+". Is Temporal there, and do the workers run?")
	}
	for _, p := range []struct {
		pile pile
		name string
		todo string
	}{{w.InDoubt, "In doubt", "Ask the vendor, then resolve."}, {w.Held, "Held", "Compliance reads them, and releases or refuses."}, {w.WebhooksFailed, "Webhook deliveries given up", "Replay them once the endpoint works."},
		{w.Unrouted, "Inbound to nobody's number", "Give the number to its customer, then take them in."}, {w.Unmatched, "Delivery reports that fit no message", "Find the message that each is of."}} {
		if p.pile.Count > 0 {
			warn = append(warn, p.name+": "+counted(p.pile.Count)+". "+p.todo)
		}
	}
	for _, c := range w.Caps {
		if c.Closed || c.Used >= c.Limit {
			warn = append(warn, "The "+c.Period+"'s cap of "+c.Name+" is used up.")
		}
	}
	switch {
	case len(bad) > 0:
		n = page.Notice{Tone: page.Bad, Title: "This needs somebody now.", Lines: append(bad, warn...)}
	case len(warn) > 0:
		n = page.Notice{Tone: page.Warn, Title: "Messages go. This waits for staff:", Lines: warn}
	case len(w.Vendors) == 0:
		n = page.Notice{Tone: page.Warn, Title: "There is no vendor.", Text: "Messages that are accepted wait.", Link: page.Link{Text: "Add one", Href: v.At("/vendors/new")}}
	}
	return n
}

func lastError(s vendorStatus) string {
	if s.LastError == nil {
		return ""
	}
	return " Its last error: " + *s.LastError
}

func pausedWord(s vendorStatus) string {
	if s.Draining {
		return "draining"
	}
	return "paused"
}

// late reports whether the oldest has waited longer than so many seconds.
func late(p pile, seconds int) bool { return p.OldestSeconds != nil && *p.OldestSeconds >= seconds }

// counted writes how many there are; counting ends at some number.
func counted(n int) string {
	if n >= 10_000 {
		return "10,000 or more"
	}
	return page.Grouped(int64(n))
}

// highErrors is the share from which a vendor's errors are an alarm.
const highErrors = 0.2

func rates(v *site.Visit, w *overviewView) []page.Stat {
	rate := func(label string, now, hour float64, help, href string) page.Stat {
		sub := page.Decimal(hour) + "/s in the last hour"
		if hour < 0.1 { // too few for a rate
			sub = page.Grouped(int64(hour*3600+0.5)) + " in the last hour"
		}
		return page.Stat{Label: label, Value: page.Decimal(now), Unit: "/s", Sub: sub, Help: help + ", a second, in the last minute", Href: href}
	}
	errors := page.Stat{Label: "Error rate", Value: percent(w.LastMinute.ErrorRate), Sub: percent(w.LastHour.ErrorRate) + " in the last hour", Href: v.At("/messages?status=failed"),
		Help: "Of the parts given to vendors within the last minute, the share that was refused for trouble of theirs or got no answer"}
	if w.LastMinute.ErrorRate >= highErrors {
		errors.Tone = page.Bad
	}
	return []page.Stat{
		rate("In", w.LastMinute.Accepted, w.LastHour.Accepted, "Messages accepted from customers", v.At("/messages?direction=outbound")),
		rate("Out", w.LastMinute.ToVendors, w.LastHour.ToVendors, "Parts that vendors took", v.At("/messages?status=sent")),
		rate("Final", w.LastMinute.Final, w.LastHour.Final, "Messages of the last hour that reached a final status: delivered, not delivered, failed and so on", v.At("/messages?status=delivered")),
		rate("From handsets", w.LastMinute.FromVendors, w.LastHour.FromVendors, "Messages that came from vendors; a part of a long one counts as one", v.At("/messages?direction=inbound")),
		errors,
	}
}

func waiting(v *site.Visit, w *overviewView) []page.Stat {
	stat := func(label string, p pile, href, help string, tone page.Tone) page.Stat {
		s := page.Stat{Label: label, Value: counted(p.Count), Href: v.At(href), Help: help, Sub: "none waits"}
		if p.Count > 0 {
			s.Tone = tone
			if s.Sub = ""; p.OldestSeconds != nil {
				s.Sub = "oldest " + waited(p.OldestSeconds)
			}
		}
		return s
	}
	lateTone := func(p pile, seconds int, tone page.Tone) page.Tone {
		if late(p, seconds) {
			return tone
		}
		return page.Plain
	}
	oldest := page.Stat{Label: "Oldest waiting", Value: cmp.Or(waited(w.Backlog.OldestSeconds), "none"), Sub: "of the accepted messages", Tone: lateTone(w.Backlog, lateMessage, page.Warn),
		Help: "The accepted message that has waited longest for a vendor, but for those scheduled for later. Its page says what it waits for"}
	if w.Backlog.OldestID != nil {
		oldest.Href = v.At("/messages/" + url.PathEscape(*w.Backlog.OldestID))
	}
	backlog := stat("Backlog", w.Backlog, "/messages?status=queued", "Messages that are accepted and that no vendor has yet, scheduled ones among them", page.Plain)
	if w.Backlog.Count > 0 && w.Backlog.OldestSeconds == nil {
		backlog.Sub = "all scheduled for later"
	}
	return []page.Stat{
		backlog, oldest,
		stat("Not started", w.Unstarted, "/messages?status=accepted", "Accepted messages whose workflow has not begun. Some for a moment is normal; many, or one for a minute, says that Temporal or the workers are away", lateTone(w.Unstarted, lateStart, page.Bad)),
		stat("In doubt", w.InDoubt, "/messages?status=in_doubt", "Submitted, and no answer is known: the vendor may have them or not. A receipt settles it, or staff do", page.Warn),
		stat("Held", w.Held, "/held", "A content rule holds them until somebody of compliance has read them", page.Warn),
		stat("Webhooks to try", w.WebhooksDue, "/webhooks?state=pending", "Deliveries to customers' endpoints that are due or wait for their next try", lateTone(w.WebhooksDue, lateWebhook, page.Warn)),
		stat("Webhooks failed", w.WebhooksFailed, "/webhooks?state=failed", "Deliveries that were tried for 72 hours in vain and not replayed", page.Warn),
		stat("Unrouted inbound", w.Unrouted, "/unrouted", "Messages from handsets to numbers that are nobody's", page.Warn),
		stat("Unmatched receipts", w.Unmatched, "/receipts", "Delivery reports that fit no message that was sent", page.Warn),
	}
}

func capTable(v *site.Visit, caps []usedCap) page.Block {
	t := page.Table{Caption: "Caps near their end", Empty: "Nothing is half used.", Columns: []page.Column{{Title: "Whose"}, {Title: "Cap"}, {Title: "Used", Right: true, Help: "Of the parts that may go in the period"}, {Title: "Parts", Right: true}, {Title: "Begins anew"}}}
	for _, c := range caps {
		whose := page.To(c.Name, v.At("/customers/"+url.PathEscape(c.AccountID))).WithSub(c.Kind)
		switch {
		case c.CampaignID != nil:
			whose.Href = v.At("/campaigns/" + url.PathEscape(*c.CampaignID))
		case c.BrandID != nil:
			whose.Href = v.At("/brands/" + url.PathEscape(*c.BrandID))
		}
		what := "parts a " + c.Period
		if c.Type != nil {
			what = strings.ToUpper(*c.Type) + " " + what
		}
		if c.Number != nil {
			what += " from " + *c.Number
		}
		share := float64(c.Used) / float64(max(1, c.Limit))
		r := page.Row{Cells: []page.Cell{whose, page.Str(what), page.Badge(percent(share), page.Plain, ""), page.Str(page.Grouped(c.Used) + " of " + page.Grouped(c.Limit)), page.When(c.ResetsAt)}}
		switch {
		case c.Closed:
			r.Tone, r.Cells[2] = page.Bad, page.Badge("closed", page.Bad, "A vendor said that the carrier takes no more today")
		case share >= 1:
			r.Tone, r.Cells[2].Tone = page.Bad, page.Bad
		case share >= 0.8:
			r.Tone, r.Cells[2].Tone = page.Warn, page.Warn
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

// lately is what has become of the messages of the last hour.
func lately(v *site.Visit, w *overviewView) page.Block {
	t := page.Table{Caption: "Messages of the last hour", Empty: "No message came in the last hour.", Columns: []page.Column{{Title: "Status"}, {Title: "From customers", Right: true}, {Title: "From handsets", Right: true}}}
	since := ""
	if w.Lately.Since != nil {
		since = *w.Lately.Since
	}
	for _, s := range message.Statuses() {
		out, in := w.Lately.Outbound[string(s)], w.Lately.Inbound[string(s)]
		if out+in == 0 {
			continue
		}
		badge := page.Status(string(s))
		badge.Href = v.At("/messages?" + url.Values{"status": {string(s)}, "created_after": {since}}.Encode())
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{badge, page.Num(out), page.Num(in)}})
	}
	return t
}

func percent(share float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*share), ".0") + "\u00a0%"
}
