package office

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// traffic is what goes through within a minute or an hour, as GET /metrics has it.
type traffic struct {
	Throughput struct {
		In, Out float64
	}
	ErrorRate float64 `json:"error_rate"`
}

type metrics struct {
	At         string
	LastMinute traffic `json:"last_minute"`
	LastHour   traffic `json:"last_hour"`
	QueueSize  int     `json:"queue_size"`
}

type vendorStatus struct {
	VendorID   string  `json:"vendor_id"`
	Name       string  `json:"connector_id"`
	BindStatus string  `json:"bind_status"`
	Health     string  `json:"health_status"`
	Active     bool    `json:"is_active"`
	Paused     bool    `json:"paused"`
	Draining   bool    `json:"draining"`
	Now        float64 `json:"throughput_current"`
	Most       int     `json:"throughput_max"`
	Queue      *int    `json:"queue_size"`
	ErrorRate  float64 `json:"error_rate"`
	LastError  *string `json:"last_error"`
}

func (o *office) overview(v *site.Visit) (page.Page, error) {
	blocks, err := o.now(v)
	if err != nil {
		return page.Page{}, err
	}
	return page.Page{Title: "Overview", Lead: "What goes through the gateway now. It is counted anew every few seconds.",
		Body: []page.Block{page.Live{Path: v.At("/overview/live"), Label: "What goes through now", Body: blocks}}}, nil
}

// overviewEvery is how often the overview is counted anew for a reader.
const overviewEvery = 3 * time.Second

func (o *office) overviewLive(v *site.Visit) (page.Page, error) {
	return v.Stream(overviewEvery, func(context.Context) ([]page.Block, error) { return o.now(v) })
}

// now is the part of the overview that changes.
func (o *office) now(v *site.Visit) ([]page.Block, error) {
	var m metrics
	if err := v.Get(api+"/metrics", nil, &m); err != nil {
		return nil, err
	}
	var vendors site.Rows[vendorStatus]
	if err := v.Get(api+"/vendors/status", nil, &vendors); err != nil {
		return nil, err
	}
	errors := page.Stat{Label: "Error rate", Value: percent(m.LastMinute.ErrorRate), Help: "Of the parts given to vendors within the last minute, the share that was refused for trouble of theirs or got no answer", Sub: percent(m.LastHour.ErrorRate) + " in the last hour"}
	if m.LastMinute.ErrorRate >= 0.2 {
		errors.Tone = page.Bad
	}
	table := page.Table{Caption: "Vendors", ShowCaption: true, Empty: "There is no vendor yet.", EmptyHelp: "Messages wait until one is added.",
		Columns: []page.Column{{Title: "Vendor"}, {Title: "Link"}, {Title: "Health", Help: "Judged by what it answered and how fast"}, {Title: "Messages/s", Right: true, Help: "Submitted within the last seconds, over all processes"},
			{Title: "Most/s", Right: true}, {Title: "Waiting", Right: true, Help: "Messages on the vendor's queue"}, {Title: "Errors", Right: true, Help: "Of its answers in the last minute"}, {Title: "Last error"}}}
	for _, s := range vendors.Data {
		table.Rows = append(table.Rows, vendorRow(s))
	}
	return []page.Block{
		page.Stats{Title: "Messages", Items: []page.Stat{
			{Label: "In", Value: page.Decimal(m.LastMinute.Throughput.In), Unit: "/s", Help: "Messages taken from customers and vendors, a second, in the last minute", Sub: page.Decimal(m.LastHour.Throughput.In) + "/s in the last hour"},
			{Label: "Out", Value: page.Decimal(m.LastMinute.Throughput.Out), Unit: "/s", Help: "Messages submitted to vendors, a second, in the last minute", Sub: page.Decimal(m.LastHour.Throughput.Out) + "/s in the last hour"},
			{Label: "Waiting", Value: page.Grouped(int64(m.QueueSize)), Help: "Messages that are accepted and not yet with a vendor"},
			errors,
		}},
		table,
	}, nil
}

func vendorRow(s vendorStatus) page.Row {
	queue, last := page.None("It cannot be asked now"), page.None("")
	if s.Queue != nil {
		queue = page.Num(*s.Queue)
	}
	if s.LastError != nil {
		last = page.Str(*s.LastError)
	}
	r := page.Row{Cells: []page.Cell{page.Str(s.Name), link(s), health(s.Health), page.Rate(s.Now), page.Num(s.Most), queue, page.Str(percent(s.ErrorRate)), last}}
	if s.Active && s.BindStatus != "connected" {
		r.Tone = page.Bad
	}
	return r
}

// link is the state of a vendor's link in a word.
func link(s vendorStatus) page.Cell {
	switch {
	case !s.Active:
		return page.Badge("off", page.Plain, "The vendor is not active")
	case s.Draining:
		return page.Badge("draining", page.Warn, "What waits goes another way, and nothing new comes")
	case s.Paused:
		return page.Badge("paused", page.Warn, "Nothing is submitted until it is resumed")
	case s.BindStatus == "connected":
		return page.Badge("connected", page.Good, "Messages can be submitted")
	case s.BindStatus == "connecting":
		return page.Badge("connecting", page.Warn, "A connection is being made")
	}
	return page.Badge(s.BindStatus, page.Bad, "Messages wait, or take another route")
}

func health(word string) page.Cell {
	switch word {
	case "healthy":
		return page.Badge(word, page.Good, "")
	case "degraded":
		return page.Badge(word, page.Warn, "Other vendors are asked first")
	case "unhealthy", "down":
		return page.Badge(word, page.Bad, "Other vendors are asked first")
	}
	return page.Badge(word, page.Plain, "")
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
