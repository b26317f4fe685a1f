package office

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// vendorBind is the link that one process has.
type vendorBind struct {
	Instance   string
	BindStatus string `json:"bind_status"`
	Binds      int
	InFlight   int `json:"in_flight"`
	Throughput float64
	RateShare  float64 `json:"rate_share"`
	ErrorRate  float64 `json:"error_rate"`
	Latency    int     `json:"latency_ms"`
	LastError  *string `json:"last_error"`
	Since      *string
	SeenAt     *string `json:"seen_at"`
}

// vendorStatus is what a vendor does now.
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
	Latency    int     `json:"latency_ms"`
	InFlight   int     `json:"in_flight"`
	Since      *string
	LastError  *string `json:"last_error"`
	LastBind   *string `json:"last_bind_time"`
	Binds      []vendorBind
}

// builtInVendor is the name of the vendor that stands for the gateway itself.
const builtInVendor = "internal"

var vendorColumns = []page.Column{{Title: "Vendor"}, {Title: "Link", Help: "Whether it can be given messages, over one process at least"}, {Title: "Health", Help: "Judged by what it answered, how fast, and by its delivery reports"},
	{Title: "Parts/s", Right: true, Help: "Given to it within the last seconds, over all processes, and what is allowed"}, {Title: "Queue", Right: true, Help: "Messages on its queue"},
	{Title: "In flight", Right: true, Help: "Parts that it was given and has not answered"}, {Title: "Latency", Right: true, Help: "Mean time to an answer"},
	{Title: "Errors", Right: true, Help: "Of its answers in the last minute, the share that tells of its trouble"}, {Title: "Last error", Help: "The newest, of any process, as it said it"}}

func vendorRow(v *site.Visit, s vendorStatus) page.Row {
	queue := page.None("It cannot be asked now: is Temporal there?")
	if s.Queue != nil {
		queue = page.Num(*s.Queue)
	}
	errors := page.Str(percent(s.ErrorRate))
	if s.ErrorRate >= highErrors {
		errors = page.Badge(percent(s.ErrorRate), page.Bad, "")
	}
	r := page.Row{Cells: []page.Cell{page.To(s.Name, v.At("/vendors/"+url.PathEscape(s.VendorID))), link(s), health(s.Health),
		page.Rate(s.Now).WithSub(most(s.Most)), queue, page.Num(s.InFlight), page.Str(fmt.Sprintf("%d ms", s.Latency)), errors, page.Strp(s.LastError)}}
	switch {
	case s.Name == builtInVendor:
		r.Cells[1] = page.Badge("built in", page.Plain, "The gateway itself, for messages between its own numbers")
	case s.Active && s.BindStatus != "connected", s.Active && s.Health == "down":
		r.Tone = page.Bad
	case s.Active && (s.Paused || s.Draining || s.Health == "degraded"):
		r.Tone = page.Warn
	}
	return r
}

// most is a bound of which 0 is none.
func most(n int) string {
	if n == 0 {
		return "no\u00a0limit"
	}
	return "of\u00a0" + page.Grouped(int64(n))
}

// link is the state of a vendor's link in a word.
func link(s vendorStatus) page.Cell {
	switch {
	case !s.Active:
		return page.Badge("off", page.Plain, "It is not in use: nothing is linked to it")
	case s.BindStatus != "connected" && s.BindStatus != "connecting":
		return page.Badge(s.BindStatus, page.Bad, "Messages wait, or take another route").WithSub(takesNone(s))
	case s.Draining:
		return page.Badge("draining", page.Warn, "What waits goes another way, and nothing new comes")
	case s.Paused:
		return page.Badge("paused", page.Warn, "Nothing is submitted until it is resumed")
	case s.BindStatus == "connected":
		return page.Badge("connected", page.Good, "Messages can be submitted")
	}
	return page.Badge("connecting", page.Warn, "A connection is being made").WithSub(takesNone(s))
}

// takesNone says why a vendor would not take messages if it were connected.
func takesNone(s vendorStatus) string {
	if s.Paused || s.Draining {
		return "and " + pausedWord(s)
	}
	return ""
}

func health(word string) page.Cell {
	switch word {
	case "healthy":
		return page.Badge(word, page.Good, "It answers as it should")
	case "degraded":
		return page.Badge(word, page.Warn, "Other vendors are asked first")
	case "down":
		return page.Badge(word, page.Bad, "Other vendors are asked first")
	}
	return page.Badge(word, page.Plain, "It has not had enough messages to be judged")
}

func (o *office) vendors(v *site.Visit) (page.Page, error) {
	table, err := o.vendorTable(v)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Vendors", Lead: "Who takes messages to the networks, and how they do now.",
		Body: append(onlyOperators(v), page.Live{Path: v.At("/vendors/live?" + v.R.URL.RawQuery), Label: "Vendors now", Body: []page.Block{table}})}
	if operates(v) {
		p.Actions = []page.Action{{Text: "Add a vendor", Href: v.At("/vendors/new"), Main: true}}
		p.Body = append(p.Body, page.Disclosure{Summary: "Read vendors and routes anew…", Body: []page.Block{page.Text("Every process reads them from the database now. Changes are noticed within 5 seconds anyway, also those that were made by SQL; this is for who does not trust that."), pressed(v.At("/vendors/reload"), "Read them anew", false)}})
	}
	return p, nil
}

func (o *office) reloadVendors(v *site.Visit) (page.Page, error) {
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/reload-vendors"})
	if err != nil {
		return page.Page{}, err
	}
	var r struct{ Version, Vendors int }
	if err := got.Into(&r); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/vendors"), fmt.Sprintf("Read anew: %s, version %d of the configuration.", plural(r.Vendors, "vendor"), r.Version))
}

func (o *office) vendorsLive(v *site.Visit) (page.Page, error) {
	return v.Stream(overviewEvery, func(context.Context) ([]page.Block, error) {
		t, err := o.vendorTable(v)
		return []page.Block{t}, err
	})
}

func (o *office) vendorTable(v *site.Visit) (page.Block, error) {
	rows, err := site.List[vendorStatus](v, api+"/vendors/status", nil, nil)
	if err != nil {
		return nil, err
	}
	t := page.Table{Caption: "Vendors", Empty: "There is no vendor yet.", EmptyHelp: "Messages that are accepted wait until one is added.", EmptyLink: page.Link{Text: "Add a vendor", Href: v.At("/vendors/new")}, Columns: vendorColumns}
	t = site.Table(v, rows, t, func(s vendorStatus) page.Row { return vendorRow(v, s) })
	if t.Next != "" || t.First != "" { // a stream has another path than its page
		t.Next, t.First = atPage(v, t.Next), atPage(v, t.First)
	}
	return t, nil
}

// atPage puts the page's path into a link that a stream made.
func atPage(v *site.Visit, link string) string {
	u, err := url.Parse(link)
	if link == "" || err != nil {
		return link
	}
	u.Path = v.At("/vendors")
	return u.String()
}

// vendorView is a vendor's settings as far as its page shows them in words.
type vendorView struct {
	ID           string
	Name         string `json:"instance_name"`
	DisplayName  string `json:"display_name"`
	Kind         string `json:"provider_type"`
	Active       bool   `json:"is_active"`
	Host         string
	Port         int
	Username     string
	UseTLS       bool   `json:"use_tls"`
	BindType     string `json:"bind_type"`
	MaxBinds     int    `json:"max_binds"`
	Window       int
	Throughput   int
	Priority     int
	CostPerSMS   string  `json:"cost_per_sms"`
	CostPerMMS   string  `json:"cost_per_mms"`
	Alphanumeric bool    `json:"supports_alphanumeric"`
	Unicode      bool    `json:"supports_unicode"`
	MMS          bool    `json:"supports_mms"`
	MediaProfile string  `json:"media_profile"`
	PasswordSet  bool    `json:"password_set"`
	SigningKeys  int     `json:"signing_keys_set"`
	Paused       bool    `json:"paused"`
	Draining     bool    `json:"draining"`
	Since        *string `json:"draining_since"`
	Problem      *string
	CreatedAt    string `json:"created_at"`
	UpdatedAt    string `json:"updated_at"`
}

func (o *office) vendor(v *site.Visit) (page.Page, error) { return o.vendorPage(v, nil, nil) }

// vendorPage shows a vendor. A form for its throughput or its removal may come with what was
// wrong.
func (o *office) vendorPage(v *site.Visit, throughput, remove *page.Form) (page.Page, error) {
	var w vendorView
	slider := throughput
	if slider == nil {
		slider = throughputForm(v)
	}
	if err := v.Loaded(&page.Form{}, api+"/vendors/"+v.ID(), &w); err != nil {
		return page.Page{}, err
	}
	if throughput == nil {
		slider.Fields[0].Value = fmt.Sprint(w.Throughput)
	}
	slider.Fields[0].Slider = max(1000, 2*w.Throughput)
	live, err := o.vendorNow(v)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "Vendor " + w.Name, Lead: w.DisplayName, Crumbs: []page.Link{{Text: "Vendors", Href: v.At("/vendors")}, {Text: w.Name}}}
	if operates(v) && w.Kind != builtIn {
		p.Actions = []page.Action{{Text: "Edit", Href: v.At("/vendors/" + v.ID() + "/edit"), Main: true}}
	}
	if w.Problem != nil {
		p.Body = append(p.Body, page.Notice{Tone: page.Bad, Title: "It is out of the configuration.", Text: *w.Problem})
	}
	if w.Kind == builtIn {
		p.Body = append(p.Body, page.Notice{Text: "This stands for the gateway itself: messages between its own numbers go over it. There is no link to it, and nothing to set."})
	}
	p.Body = append(p.Body, page.Section{ID: "now", Title: "Now", Body: []page.Block{page.Live{Path: v.At("/vendors/" + v.ID() + "/live"), Label: "What it does now", Body: live}}},
		page.Split{Left: vendorActions(v, &w, slider, remove, throughput != nil), Right: []page.Block{vendorFacts(&w)}})
	return p, nil
}

func (o *office) vendorLive(v *site.Visit) (page.Page, error) {
	return v.Stream(messageEvery, func(context.Context) ([]page.Block, error) { return o.vendorNow(v) })
}

// vendorNow is the part of a vendor's page that changes.
func (o *office) vendorNow(v *site.Visit) ([]page.Block, error) {
	var s vendorStatus
	if err := v.Get(api+"/vendors/"+v.ID()+"/status", nil, &s); err != nil {
		return nil, err
	}
	queue := page.Stat{Label: "Queue", Value: "–", Sub: "it cannot be asked now", Help: "Messages on its queue", Href: v.At("/messages?" + url.Values{"vendor": {s.Name}}.Encode())}
	if s.Queue != nil {
		queue.Value, queue.Sub = page.Grouped(int64(*s.Queue)), "messages wait"
	}
	speed := page.Stat{Label: "Parts/s", Value: page.Decimal(s.Now), Sub: most(s.Most), Help: "Given to it within the last seconds, over all processes"}
	if s.Most > 0 {
		speed.Bar, speed.Share = true, s.Now/float64(s.Most)
	}
	errors := page.Stat{Label: "Errors", Value: percent(s.ErrorRate), Sub: "of its answers in the last minute", Help: "Answers that tell of trouble of the vendor's own, and those that did not come"}
	if s.ErrorRate >= highErrors {
		errors.Tone = page.Bad
	}
	binds := page.Table{Caption: "Links of the processes", Empty: "No process has a link to it.", EmptyHelp: "Is it active, and does a gateway with the role for vendors run?",
		Columns: []page.Column{{Title: "Process"}, {Title: "State"}, {Title: "Since"}, {Title: "Binds", Right: true, Help: "That are live"}, {Title: "In flight", Right: true, Help: "Parts that it was given and has not answered"}, {Title: "Parts/s", Right: true, Help: "And the process's share of what is allowed"},
			{Title: "Latency", Right: true, Help: "Mean time to an answer"}, {Title: "Errors", Right: true, Help: "Of the answers of the last minute"}, {Title: "Last error"}}}
	for _, b := range s.Binds {
		tone := map[string]page.Tone{"connected": page.Good, "connecting": page.Warn}[b.BindStatus]
		if tone == page.Plain {
			tone = page.Bad
		}
		speed := page.Rate(b.Throughput)
		if b.RateShare > 0 {
			speed = speed.WithSub("of " + page.Decimal(b.RateShare))
		}
		binds.Rows = append(binds.Rows, page.Row{Cells: []page.Cell{page.Mono(b.Instance), page.Badge(b.BindStatus, tone, "").WithSub(unseen(b.SeenAt)), page.Whenp(b.Since), page.Num(b.Binds), page.Num(b.InFlight), speed,
			page.Str(fmt.Sprintf("%d ms", b.Latency)), page.Str(percent(b.ErrorRate)), page.Strp(b.LastError)}})
	}
	facts := page.Facts{Title: "State", Items: []page.Fact{{Label: "Link", Value: link(s)}, {Label: "In this state since", Value: page.Whenp(s.Since)}, {Label: "Health", Value: health(s.Health)}, {Label: "Last bind", Value: page.Whenp(s.LastBind), Help: "When it was last connected to"}}}
	out := []page.Block{facts, page.Stats{Title: "What it does now", Items: []page.Stat{speed, queue, {Label: "In flight", Value: page.Grouped(int64(s.InFlight)), Help: "Parts that it was given and has not answered"},
		{Label: "Latency", Value: page.Grouped(int64(s.Latency)), Unit: "ms", Help: "Mean time to an answer"}, errors}}, binds}
	if s.LastError != nil {
		tone := page.Warn
		if s.BindStatus != "connected" {
			tone = page.Bad
		}
		out = append([]page.Block{page.Notice{Tone: tone, Title: "Its last error, as it said it", Text: *s.LastError}}, out...)
	}
	return out, nil
}

// unseenAfter is how long a process may be silent before that is said: it tells of itself
// every few seconds.
const unseenAfter = 20 * time.Second

// unseen says that a process has not told of something for some time, since what is shown is
// as old then.
func unseen(at *string) string {
	if at == nil {
		return ""
	}
	if t, err := time.Parse(time.RFC3339, *at); err == nil && time.Since(t) > unseenAfter {
		return "not heard of for " + page.Duration(time.Since(t))
	}
	return ""
}

func vendorFacts(w *vendorView) page.Block {
	place := page.None("Where its API usually is")
	if w.Host != "" {
		place = page.Mono(fmt.Sprintf("%s:%d", w.Host, w.Port)).WithCopy()
	}
	set := func(yes bool) page.Cell {
		if yes {
			return page.Str("set")
		}
		return page.None("There is none")
	}
	may := func(yes bool) page.Cell { return page.YesNo(yes) }
	items := []page.Fact{{Label: "Kind", Value: page.Str(kindName(w.Kind))}, {Label: "In use", Value: page.On(w.Active)}, {Label: "Place", Value: place}, {Label: "Logs in as", Value: page.Mono(w.Username)}, {Label: "Password", Value: set(w.PasswordSet), Help: "It is never shown"}}
	switch w.Kind {
	case "smpp":
		items = append(items, page.Fact{Label: "Bind", Value: page.Str(w.BindType)}, page.Fact{Label: "TLS", Value: may(w.UseTLS)}, page.Fact{Label: "Binds at most", Value: page.Num(w.MaxBinds), Help: "At once, over all processes"})
	case "mm4":
		items = append(items, page.Fact{Label: "TLS", Value: may(w.UseTLS)})
	case "twilio", "telnyx":
		items = append(items, page.Fact{Label: "Signing keys", Value: page.Num(w.SigningKeys), Help: "What its webhooks are signed with"})
	}
	items = append(items, page.Fact{Label: "Window", Value: page.Num(w.Window), Help: "Unanswered submits of a bind, or of a process"}, page.Fact{Label: "Priority", Value: page.Num(w.Priority), Help: "Among routes of one priority, the smaller is asked first"},
		page.Fact{Label: "Cost of an SMS part", Value: page.Str(w.CostPerSMS)}, page.Fact{Label: "Cost of an MMS", Value: page.Str(w.CostPerMMS)},
		page.Fact{Label: "Alphanumeric senders", Value: may(w.Alphanumeric)}, page.Fact{Label: "Unicode", Value: may(w.Unicode)}, page.Fact{Label: "MMS", Value: may(w.MMS)}, page.Fact{Label: "Media profile", Value: page.Str(w.MediaProfile), Help: "What files it takes; none: as its kind does"},
		page.Fact{Label: "Draining since", Value: page.Whenp(w.Since)}, page.Fact{Label: "Added", Value: page.When(w.CreatedAt)}, page.Fact{Label: "Changed", Value: page.When(w.UpdatedAt)})
	return page.Section{ID: "settings", Title: "Settings", Help: "All of them stand in Edit.", Body: []page.Block{page.Facts{Title: "Settings", Items: items}}}
}

func kindName(kind string) string {
	if name, ok := map[string]string{"smpp": "SMPP", "mm4": "MM4", "twilio": "Twilio", "telnyx": "Telnyx", builtIn: "built in"}[kind]; ok {
		return name
	}
	return kind
}

func throughputForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/vendors/" + v.ID() + "/throughput"), Submit: "Set throughput", Label: "Throughput", Fields: []page.Field{{Name: "tps", Label: "Throughput", Kind: page.Number, Required: true, Unit: "parts/s", Help: "Over all processes together; 0: no limit. It holds within 5 seconds, without a new link."}}}
}

// vendorDeeds are what is done with a vendor by one button.
var vendorDeeds = map[string]struct{ summary, text, submit, said string }{
	"restart": {"Restart its links…", "Every process makes its links anew, each after its window has drained. Messages wait for some seconds; none is lost.", "Restart", "Its links are made anew within some seconds."},
	"pause":   {"Pause…", "It is given no messages. Its binds stay, and receipts come. What is on its queue waits, and routes ask it last.", "Pause", "It is paused: nothing is submitted until it is resumed."},
	"drain":   {"Drain…", "It is given no messages, and those that wait for it go to other vendors, where routes lead to any. Its binds stay, and receipts come.", "Drain", "It drains: what waits goes another way."},
	"resume":  {"Resume…", "It is given messages again.", "Resume", "It takes messages again."},
}

func vendorActions(v *site.Visit, w *vendorView, slider, remove *page.Form, open bool) []page.Block {
	section := page.Section{ID: "actions", Title: "Actions"}
	name := url.Values{"vendor": {w.Name}}.Encode()
	links := page.Section{ID: "more", Title: "More", Body: []page.Block{page.Bullets{page.To("Its messages", v.At("/messages?"+name)), page.To("Its messages in doubt", v.At("/messages?status=in_doubt&"+name)),
		page.To("Routes to it", v.At("/routes?"+url.Values{"vendor_id": {w.ID}}.Encode())), page.To("Its numbers", v.At("/numbers?"+url.Values{"vendor_id": {w.ID}}.Encode()))}}}
	switch {
	case w.Kind == builtIn:
		return []page.Block{links}
	case !operates(v):
		section.Help = "Operators and admins do things with vendors; your role is " + string(v.Person.Role) + "."
		return []page.Block{section, links}
	}
	at := v.At("/vendors/" + v.ID() + "/")
	section.Body = append(section.Body, slider)
	section.Body = append(section.Body, page.Disclosure{Summary: "Test the connection…", Body: []page.Block{page.Text("Over a connection of its own: a bind and an enquire_link, or a request that reads something. No message is sent. A vendor that allows one bind at a time may refuse it."), pressed(at+"test", "Test the connection", false)}})
	deeds := []string{"restart", "pause", "drain"}
	switch {
	case w.Paused && w.Draining:
		deeds = []string{"resume", "restart"}
	case w.Paused:
		deeds = []string{"resume", "drain", "restart"}
	case w.Draining:
		deeds = []string{"resume", "restart"}
	}
	for _, name := range deeds {
		d := vendorDeeds[name]
		section.Body = append(section.Body, page.Disclosure{Summary: d.summary, Open: name == "resume", Body: []page.Block{page.Text(d.text), pressed(at+name, d.submit, false)}})
	}
	tried := remove != nil
	if !tried {
		remove = removeForm(v)
	}
	section.Body = append(section.Body, page.Disclosure{Summary: "Delete…", Danger: true, Open: tried && !open, Body: []page.Block{page.Text("Its routes go with it, and numbers that name it name none. It is refused while messages wait for it, parts are in doubt there, or routes and numbers name it, unless it drains first."), remove}})
	return []page.Block{section, links}
}

func removeForm(v *site.Visit) *page.Form {
	return &page.Form{Action: v.At("/vendors/" + v.ID() + "/delete"), Submit: "Delete the vendor", Danger: true, Fields: []page.Field{{Name: "drain", Label: "Drain it first: what waits goes to others", Kind: page.Check}}}
}

func (o *office) setThroughput(v *site.Visit) (page.Page, error) {
	form := throughputForm(v)
	return v.Submit(site.Task{Form: form, Method: http.MethodPut, Path: api + "/vendors/" + v.ID() + "/throughput", Then: site.To(v.At("/vendors/" + v.ID())), Said: "The throughput is set. It holds within 5 seconds."},
		func() (page.Page, error) { return o.vendorPage(v, form, nil) })
}

// workVendor does what a button of the page asks for.
func (o *office) workVendor(v *site.Visit) (page.Page, error) {
	name := v.Param("action")
	d, ok := vendorDeeds[name]
	if !ok {
		return v.Missing()
	}
	if _, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/vendors/" + v.ID() + "/" + name}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/vendors/"+v.ID()), d.said)
}

func (o *office) testVendor(v *site.Visit) (page.Page, error) {
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/vendors/" + v.ID() + "/test"})
	if err != nil {
		return page.Page{}, err
	}
	var r struct {
		OK     bool
		MS     int64
		Detail string
	}
	if err := got.Into(&r); err != nil {
		return page.Page{}, err
	}
	n := page.Notice{Tone: page.Bad, Title: "The test failed.", Text: clipped(r.Detail, 600), Lines: []string{"After " + page.Duration(time.Duration(r.MS)*time.Millisecond) + "."}}
	if r.OK {
		n.Tone, n.Title = page.Good, "The connection works."
	}
	return v.DoneWith(v.At("/vendors/"+v.ID()), n)
}

// clipped is the beginning of a text, for what must stay small.
func clipped(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (o *office) deleteVendor(v *site.Visit) (page.Page, error) {
	form := removeForm(v)
	body, _ := form.Read(v.R)
	path := api + "/vendors/" + v.ID()
	if body["drain"] == true {
		path += "?drain=true"
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodDelete, Path: path, Instead: func(a *call.Answer) (page.Page, error) {
		if a.Status != http.StatusAccepted {
			return v.Done(v.At("/vendors"), "The vendor is deleted.")
		}
		var use struct {
			Waiting int
			InDoubt int `json:"in_doubt"`
			Routes  []int64
			Numbers int
			Rest    int `json:"rest_seconds"`
		}
		if err := a.Into(&use); err != nil {
			return page.Page{}, err
		}
		return v.DoneWith(v.At("/vendors/"+v.ID()), page.Notice{Tone: page.Warn, Title: "It drains. Delete it again when nothing is in the way.", Lines: []string{
			counted(use.Waiting) + " messages wait for it.", counted(use.InDoubt) + " parts are in doubt there.", fmt.Sprintf("%d routes and %d numbers name it.", len(use.Routes), use.Numbers),
			"Receipts of what it had are waited for " + page.Duration(time.Duration(use.Rest)*time.Second) + " more."}})
	}}, func() (page.Page, error) { return o.vendorPage(v, nil, form) })
}
