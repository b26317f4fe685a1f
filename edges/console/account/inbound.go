package account

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// placeView is where something goes.
type placeView struct {
	Method   string
	URL      *string `json:"webhook_url"`
	Failover *string `json:"webhook_failover_url"`
	HTTP     *string `json:"webhook_method"`
	Format   *string
	SystemID *string `json:"smpp_system_id"`
	Email    *string `json:"email_address"`
}

// destinationView is one of those that get every message.
type destinationView struct {
	placeView
	Secret    *string `json:"webhook_secret"` // only when it was made
	SecretSet bool    `json:"webhook_secret_set"`
	Retries   *int    `json:"webhook_retry_count"`
	Active    bool
	Fallback  *struct {
		placeView
		After int `json:"after_seconds"`
	}
}

// inboundView is where messages to a number, or to all of them, go.
type inboundView struct {
	Number       *string
	Inherited    bool
	Destinations []destinationView
	AutoReply    *string `json:"auto_reply"`
	UpdatedAt    *string `json:"updated_at"`
}

// tested is what a try of a destination came to.
type tested struct {
	Position int
	Method   string
	OK       bool
	MS       int
	Detail   string
}

// methods are the ways in which received messages are handed over.
var methods = []page.Option{{Value: "webhook", Text: "Webhook"}, {Value: "smpp", Text: "SMPP"}, {Value: "email", Text: "E-mail"}, {Value: "mm4", Text: "MM4"}, {Value: "storage", Text: "Stored, to be fetched"}}

func methodText(method string) string {
	for _, m := range methods {
		if m.Value == method {
			return m.Text
		}
	}
	return method
}

// where says in words where a place is.
func (p *placeView) where() page.Cell {
	switch p.Method {
	case "webhook":
		if p.URL == nil {
			return page.Str("your webhook endpoints").WithSub("those that want message.received")
		}
		c := page.Mono(*p.URL)
		var more []string
		if p.HTTP != nil && *p.HTTP != "POST" {
			more = append(more, *p.HTTP)
		}
		if deref(p.Format) == "flat" {
			more = append(more, "flat fields")
		}
		if p.Failover != nil {
			more = append(more, "or "+*p.Failover)
		}
		return c.WithSub(strings.Join(more, ", "))
	case "smpp":
		return page.Mono(deref(p.SystemID)).WithSub("deliver_sm to its binds")
	case "email":
		return page.Str(deref(p.Email)).WithSub("text as body, files attached")
	case "mm4":
		return page.Str("your MMSC")
	}
	return page.Str("fetched by GET /v1/inbound-messages")
}

// inboundSection tells where messages go; edit leads to the form.
func (v *visit) inboundSection(in *inboundView, edit string, ofNumber bool) page.Section {
	s := page.Section{ID: "inbound", Title: "Where received messages go", Help: "Each destination gets every message."}
	if ofNumber && in.Inherited {
		s.Help = "Nothing is set for this number: what is set for the account holds."
	}
	table := page.Table{Caption: "Destinations", Empty: "They go to the webhook endpoints that want message.received, and are stored to be fetched if there is none.",
		Columns: []page.Column{{Title: "Method"}, {Title: "To"}, {Title: "State"}, {Title: "Signed with", Help: "The secret by which you know that a webhook is ours"}, {Title: "Tries", Help: "After the first, when it is not taken"}, {Title: "If it is not taken", Help: "The fall-back"}}}
	for _, d := range in.Destinations {
		signed, tries, fallback := page.None("Only webhooks are signed"), page.None(""), page.None("It stays with this destination")
		if d.Method == "webhook" {
			tries = page.Str("whole schedule")
			if d.Retries != nil {
				tries = page.Num(*d.Retries)
			}
			switch {
			case d.SecretSet:
				signed = page.Str("a secret of its own")
			case d.URL != nil:
				signed = page.Str("the account's secret")
			default:
				signed = page.Str("each endpoint's secret")
			}
		}
		if d.Fallback != nil {
			fallback = d.Fallback.where()
			when := "when all tries have failed"
			if d.Fallback.After > 0 {
				when = fmt.Sprintf("after %d s", d.Fallback.After)
			}
			fallback.Sub = strings.TrimPrefix(fallback.Sub+", "+methodText(d.Fallback.Method)+", "+when, ", ")
		}
		table.Rows = append(table.Rows, page.Row{Cells: []page.Cell{page.Str(methodText(d.Method)), d.where(), page.On(d.Active), signed, tries, fallback}})
	}
	s.Body = append(s.Body, table)
	if ofNumber {
		reply := page.None("It answers nothing by itself")
		if in.AutoReply != nil && *in.AutoReply != "" {
			reply = page.Str(*in.AutoReply)
		}
		s.Body = append(s.Body, page.Facts{Items: []page.Fact{{Label: "Answers by itself", Value: reply, Help: "At most once an hour and three times a day to each who writes"}, {Label: "Last change", Value: page.Whenp(in.UpdatedAt)}}})
	}
	if v.Place.May(numbersWrite) {
		s.Actions = []page.Action{{Text: "Change", Href: edit}}
		if ofNumber {
			s.Body = append(s.Body, &page.Form{Action: v.at("/numbers/" + v.param("number") + "/test"), Submit: "Send a test message to each destination", Quiet: true, Label: "Test the delivery"})
		}
	} else {
		s.Body = append(s.Body, page.Text("Somebody with the scope numbers:write changes it."))
	}
	return s
}

func (v *visit) numberInbound() (page.Page, error) {
	number := v.Param("number")
	return v.inbound(v.op("/numbers/"+v.param("number")+"/inbound"), v.at("/numbers/"+v.param("number")), number)
}

func (v *visit) defaultInbound() (page.Page, error) {
	if v.R.Method == http.MethodGet && v.R.URL.Query().Get("change") == "" {
		var in inboundView
		if err := v.Get(v.op("/inbound-settings"), nil, &in); err != nil {
			return page.Page{}, err
		}
		return page.Page{Title: "Inbound delivery", Lead: "Where messages to your numbers go, unless a number has a setting of its own.", Crumbs: v.crumbs(),
			Actions: []page.Action{{Text: "Numbers", Href: v.at("/numbers")}},
			Body: []page.Block{v.inboundSection(&in, v.at("/inbound-settings?change=1"), false),
				page.Text("The page of each number says what holds for it, and tries it out.")}}, nil
	}
	return v.inbound(v.op("/inbound-settings"), v.at("/inbound-settings"), "")
}

// maxSlots is how many destinations a setting has, as message.MaxDestinations.
const maxSlots = 10

// inbound is the form of a setting, of a number or, with an empty one, the account's.
func (v *visit) inbound(path, back, number string) (page.Page, error) {
	got, err := v.Do(call.Request{Path: path})
	if err != nil {
		return page.Page{}, err
	}
	var whole map[string]any
	var in inboundView
	if err := got.Into(&whole); err != nil {
		return page.Page{}, err
	}
	if err := got.Into(&in); err != nil {
		return page.Page{}, err
	}
	slots := 1
	if !in.Inherited {
		slots = max(1, len(in.Destinations))
	}
	if n, err := strconv.Atoi(v.R.URL.Query().Get("slots")); err == nil {
		slots = min(maxSlots, max(slots, n))
	}
	form := &page.Form{ETag: got.ETag, Submit: "Save", Cancel: page.Link{Text: "Cancel", Href: back}, Fields: slotFields(slots, number, v.systemIDs())}
	if !v.Post() {
		if err := fillSlots(form, whole, in.Inherited); err != nil {
			return page.Page{}, err
		}
	}
	show := func() (page.Page, error) { return v.inboundForm(form, &in, back, number, slots), nil }
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPut, Path: path, Body: joinSlots(slots, number != ""), Instead: func(a *call.Answer) (page.Page, error) { return v.inboundSaved(a, back) }}, show)
}

func (v *visit) inboundForm(form *page.Form, in *inboundView, back, number string, slots int) page.Page {
	title := "Where all numbers' messages go"
	if number != "" {
		title = "Where messages to " + number + " go"
	}
	p := page.Page{Title: title, Lead: "Messages that came before go where they were going.", Crumbs: v.crumbs(page.Link{Text: "Numbers", Href: v.at("/numbers")}, page.Link{Text: "Inbound delivery", Href: back})}
	if slots < maxSlots {
		q := url.Values{"slots": {strconv.Itoa(slots + 1)}}
		if number == "" {
			q.Set("change", "1")
		}
		p.Actions = []page.Action{{Text: "Add a further destination", Href: v.R.URL.Path + "?" + q.Encode()}}
	}
	if in.Inherited && number != "" {
		p.Body = append(p.Body, page.Notice{Text: "Nothing is set for this number yet: what is set for the account holds until you save a method here."})
	}
	p.Body = append(p.Body, form)
	return p
}

// slotFields are those of each slot, named as the API names them.
func slotFields(slots int, number string, systems []page.Option) []page.Field {
	var out []page.Field
	for i := range slots {
		at := fmt.Sprintf("destinations[%d].", i)
		title := "Destination"
		if slots > 1 {
			title = fmt.Sprintf("Destination %d", i+1)
		}
		none := page.Option{Text: "none: take this destination away"}
		if i == 0 && number != "" {
			none.Text = "as it is set for the account"
		} else if i == 0 {
			none.Text = "the webhook endpoints that want message.received, or else stored"
		}
		some := at + "method=webhook|smpp|email|mm4|storage"
		out = append(out, page.Field{Name: at + "method", Label: "Method", Group: title, Kind: page.Choice, Options: append([]page.Option{none}, methods...), Help: "“Stored” keeps messages until you fetch them over the API; every message can be fetched there, whatever the method."})
		out = append(out, placeFields(at, systems)...)
		out = append(out,
			page.Field{Name: at + "webhook_secret", Label: "Secret", Kind: page.Secret, Max: 256, When: at + "method=webhook", Help: "Signs what goes to this URL. Empty: the one that is set stays, or one is made and shown once."},
			page.Field{Name: at + "webhook_retry_count", Label: "Tries after the first", Kind: page.Number, When: at + "method=webhook", Help: "0 to 9. Empty: the whole schedule, some three days."},
			page.Field{Name: at + "active", Label: "Active", Kind: page.Check, Value: "true", When: some, Help: "A message whose destinations are all off is stored."},
			page.Field{Name: at + "fallback.method", Label: "If it is not taken, hand over by", Kind: page.Choice, When: some, Options: append([]page.Option{{Text: "nothing else"}}, methods...)},
			page.Field{Name: at + "fallback.after_seconds", Label: "After", Unit: "seconds", Kind: page.Number, When: at + "fallback.method=webhook|smpp|email|mm4|storage", Help: "Since the message came in, at most 259,200. Empty: when all tries have failed."})
		out = append(out, placeFields(at+"fallback.", systems)...)
	}
	if number != "" {
		out = append(out, page.Field{Name: "auto_reply", Label: "Answer", Group: "Automatic answer", Kind: page.Multiline, Max: 459, Blank: true, Help: "What the number answers by itself, at most once an hour and three times a day to each who writes. Empty: nothing. STOP and HELP are answered by the campaign."})
	}
	return out
}

func placeFields(at string, systems []page.Option) []page.Field {
	when := func(method string) string { return at + "method=" + method }
	system := page.Field{Name: at + "smpp_system_id", Label: "SMPP system id", When: when("smpp"), Help: "Of one of the account's SMPP credentials."}
	if len(systems) > 1 {
		system.Kind, system.Options = page.Choice, systems
	}
	return []page.Field{
		{Name: at + "webhook_url", Label: "URL", Max: 2048, Placeholder: "https://shop.example/sms", When: when("webhook"), Help: "Empty: the account's webhook endpoints."},
		{Name: at + "webhook_failover_url", Label: "URL when that fails", Max: 2048, When: when("webhook"), Help: "Used from the second try on."},
		{Name: at + "webhook_method", Label: "HTTP method", Kind: page.Choice, Options: []page.Option{{Text: "POST"}, {Value: "PUT", Text: "PUT"}}, When: when("webhook")},
		{Name: at + "format", Label: "Body", Kind: page.Choice, Options: []page.Option{{Text: "event: signed envelope with type and data"}, {Value: "flat", Text: "flat: the message's fields alone"}}, When: when("webhook")},
		system,
		{Name: at + "email_address", Label: "E-mail address", Kind: page.Email, Max: 254, When: when("email")},
	}
}

// systemIDs are the account's SMPP credentials, for those who may see them.
func (v *visit) systemIDs() []page.Option {
	out := []page.Option{{Text: "choose one"}}
	var rows site.Rows[struct {
		SystemID string `json:"system_id"`
	}]
	if v.Get(v.op("/smpp-credentials"), url.Values{"limit": {"200"}}, &rows) != nil {
		return nil // it is typed then
	}
	for _, c := range rows.Data {
		out = append(out, page.Option{Value: c.SystemID, Text: c.SystemID})
	}
	return out
}

// fillSlots takes the fields' values from the setting. What is the account's is not the
// number's.
func fillSlots(form *page.Form, whole map[string]any, inherited bool) error {
	if inherited {
		return nil
	}
	list, _ := whole["destinations"].([]any)
	for i, d := range list {
		if m, ok := d.(map[string]any); ok {
			for _, name := range []string{"webhook_method", "format"} { // which the first option stands for
				if m[name] == "POST" || m[name] == "event" {
					m[name] = ""
				}
			}
		}
		whole[fmt.Sprintf("destinations[%d]", i)] = d
	}
	text, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	if err := form.Fill(text); err != nil {
		return err
	}
	for i := len(list); ; i++ { // a slot that is new is on
		f := form.Field(fmt.Sprintf("destinations[%d].active", i))
		if f == nil {
			return nil
		}
		f.Value = "true"
	}
}

// belongs are the members that a method has beside method itself.
var belongs = map[string][]string{
	"webhook": {"webhook_url", "webhook_failover_url", "webhook_method", "format", "webhook_secret", "webhook_retry_count"},
	"smpp":    {"smpp_system_id"}, "email": {"email_address"},
}

// joinSlots puts the destinations into a list, without what belongs to another method than
// the one that is chosen.
func joinSlots(slots int, ofNumber bool) func(map[string]any) map[string]any {
	return func(body map[string]any) map[string]any {
		list := []any{}
		for i := range slots {
			d, _ := body[fmt.Sprintf("destinations[%d]", i)].(map[string]any)
			if d == nil || d["method"] == nil {
				continue
			}
			only(d, "active", "fallback")
			if f, _ := d["fallback"].(map[string]any); f == nil || f["method"] == nil {
				delete(d, "fallback")
			} else {
				only(f, "after_seconds")
			}
			list = append(list, d)
		}
		out := map[string]any{"destinations": list}
		if ofNumber {
			out["auto_reply"] = body["auto_reply"]
		}
		return out
	}
}

func only(place map[string]any, also ...string) {
	method, _ := place["method"].(string)
	for name := range place {
		if name != "method" && !slices.Contains(also, name) && !slices.Contains(belongs[method], name) {
			delete(place, name)
		}
	}
}

// inboundSaved leads back, or shows the secrets that were made.
func (v *visit) inboundSaved(a *call.Answer, back string) (page.Page, error) {
	var in inboundView
	if err := a.Into(&in); err != nil {
		return page.Page{}, err
	}
	var secrets []page.Block
	for _, d := range in.Destinations {
		if d.Secret != nil {
			secrets = append(secrets, page.Code{Label: "Secret of " + deref(d.URL), Text: *d.Secret, Secret: true})
		}
	}
	if len(secrets) == 0 {
		return v.Done(back, "It is saved: messages that come from now on go there.")
	}
	body := append([]page.Block{page.Notice{Tone: page.Good, Text: "It is saved: messages that come from now on go there. A secret was made, by which you know that a webhook is ours."}}, secrets...)
	return page.Page{Title: "The delivery is set", Crumbs: v.crumbs(page.Link{Text: "Numbers", Href: v.at("/numbers")}), Body: append(body, page.Bullets{page.To("Go on", back)})}, nil
}

func (v *visit) testInbound() (page.Page, error) {
	form := &page.Form{}
	return v.Submit(site.Task{Form: form, Path: v.op("/numbers/" + v.param("number") + "/inbound/test"), Bare: true, Instead: func(a *call.Answer) (page.Page, error) {
		var got site.Rows[tested]
		if err := a.Into(&got); err != nil {
			return page.Page{}, err
		}
		return v.numberPage(nil, append([]tested{}, got.Data...))
	}}, func() (page.Page, error) {
		p, err := v.numberPage(nil, nil)
		p.Body = append([]page.Block{page.Notice{Tone: page.Bad, Title: "The test was not made", Text: form.Trouble, Lines: form.TroubleLines}}, p.Body...)
		return p, err
	})
}

func testResult(list []tested) page.Block {
	if len(list) == 0 {
		return page.Notice{Tone: page.Warn, Title: "Nothing was tried", Text: "There is no destination: messages are stored to be fetched."}
	}
	n := page.Notice{Tone: page.Good, Title: "Every destination took the test"}
	for _, t := range list {
		word := "took it"
		if !t.OK {
			word, n.Tone, n.Title = "did not take it", page.Bad, "Not every destination took the test"
		}
		n.Lines = append(n.Lines, fmt.Sprintf("%d. %s %s, after %d ms. %s", t.Position, methodText(t.Method), word, t.MS, t.Detail))
	}
	return n
}
