package account

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// smppAddress is where SMPP is spoken.
type smppAddress struct {
	Host    *string
	Port    *int
	TLSPort *int `json:"tls_port"`
}

// esmeView is an SMPP credential as the API has it.
type esmeView struct {
	ID            string
	Enabled       bool
	SystemID      string `json:"system_id"`
	Password      *string
	AllowedIPs    []string `json:"allowed_ips"`
	MaxBinds      int      `json:"max_binds"`
	Throughput    int
	Window        int
	BindTypes     []string    `json:"bind_types"`
	RequireTLS    bool        `json:"require_tls"`
	ReceiptFormat string      `json:"receipt_format"`
	LongMO        string      `json:"long_mo"`
	Lifetime      int         `json:"mo_lifetime_seconds"`
	Binds         int         `json:"live_binds"`
	Connection    smppAddress `json:"connection_info"`
	CreatedAt     string      `json:"created_at"`
	UpdatedAt     string      `json:"updated_at"`
}

func (e *esmeView) state() page.Cell {
	switch {
	case !e.Enabled:
		return page.Badge("off", page.Plain, "It cannot bind, and what is owed to it waits")
	case e.Binds == 0:
		return page.Badge("not bound", page.Warn, "Nobody is bound now: inbound messages and receipts wait")
	}
	return page.Badge("bound", page.Good, "")
}

func (v *visit) esmes() (page.Page, error) {
	rows, err := site.List[esmeView](v.Visit, v.op("/smpp-credentials"), nil, nil)
	if err != nil {
		return page.Page{}, err
	}
	p := page.Page{Title: "SMPP credentials", Lead: "A system_id and password each, with which programs bind over SMPP 3.4."}
	t := page.Table{Caption: "SMPP credentials", Empty: "There is no SMPP credential.", EmptyHelp: "Make one to send and receive over SMPP; REST needs none.",
		Columns: []page.Column{{Title: "system_id"}, {Title: "State"}, {Title: "Binds", Right: true, Help: "Live now, over all processes, of those that it may have"}, {Title: "Parts/s", Right: true, Help: "Over all binds"}, {Title: "Window", Right: true, Help: "Unanswered requests of a session, each way"}, {Title: "Comes from"}, {Title: "TLS"}, {Title: "Made"}}}
	if v.May(credentialsWrite) {
		p.Actions = []page.Action{{Text: "Make a credential", Href: v.at("/smpp-credentials/new"), Main: true}}
		t.EmptyLink = page.Link{Text: "Make a credential", Href: v.at("/smpp-credentials/new")}
	}
	p.Body = append(v.readOnly(credentialsWrite), site.Table(v.Visit, rows, t, func(e esmeView) page.Row {
		tls := page.Str("may")
		if e.RequireTLS {
			tls = page.Str("must")
		}
		binds := page.Cell{Kind: "number", Text: fmt.Sprintf("%d of %d", e.Binds, e.MaxBinds)}
		return page.Row{Cells: []page.Cell{page.CodeTo(e.SystemID, v.at("/smpp-credentials/"+url.PathEscape(e.ID))), e.state(), binds, page.Num(e.Throughput), page.Num(e.Window), listCell(e.AllowedIPs, "anywhere"), tls, page.When(e.CreatedAt)}}
	}))
	return v.page(p), nil
}

var (
	receiptFormats = []page.Option{{Value: "text_tlv", Text: "text, with optional parameters beside it"}, {Value: "text", Text: "text alone"}}
	longMO         = []page.Option{{Value: "udh", Text: "in parts, with a header in the text (UDH)"}, {Value: "payload", Text: "whole, in message_payload"}, {Value: "sar", Text: "in parts, with sar_ parameters"}}
	bindTypes      = []page.Option{{Value: "transceiver", Text: "transceiver: sends and receives"}, {Value: "transmitter", Text: "transmitter: sends"}, {Value: "receiver", Text: "receiver: receives"}}
)

// esmeForm makes and changes an SMPP credential.
func (v *visit) esmeForm() *page.Form {
	throughput := page.Field{Name: "throughput", Label: "Parts a second", Kind: page.Number, Keep: true, Unit: "/s", Group: "How much", Help: "Over all binds. 500 and more are by contract: the operator sets them."}
	if v.Staff {
		throughput.Help = "Over all binds. 500 and more are by contract: only staff set them."
	}
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "enabled", Label: "It may bind", Kind: page.Check, Help: "Otherwise it is refused, and what is owed to it waits."},
		{Name: "bind_types", Label: "How it may bind", Kind: page.Choices, Options: bindTypes},
		{Name: "allowed_ips", Label: "Addresses", Kind: page.Lines, Placeholder: "192.0.2.0/24", Help: "Networks that may bind, one a line. Empty: any."},
		{Name: "require_tls", Label: "Only over TLS", Kind: page.Check},
		throughput,
		{Name: "max_binds", Label: "Binds at once", Kind: page.Number, Keep: true, Help: "Over all processes of the gateway."},
		{Name: "window", Label: "Window", Kind: page.Number, Keep: true, Help: "Unanswered requests of a session, each way."},
		{Name: "receipt_format", Label: "Delivery receipts", Kind: page.Choice, Options: receiptFormats, Group: "What it is sent"},
		{Name: "long_mo", Label: "Long inbound texts", Kind: page.Choice, Options: longMO},
		{Name: "mo_lifetime_seconds", Label: "Held while nobody is bound", Kind: page.Number, Keep: true, Unit: "seconds", Help: "60 to 2,592,000; 259,200 are three days."},
	}}
}

func (v *visit) newESME() (page.Page, error) {
	f := v.esmeForm()
	f.Patch, f.Submit, f.Cancel = false, "Make the credential", page.Link{Href: v.at("/smpp-credentials")}
	for name, value := range map[string]string{"enabled": "true", "throughput": "100", "max_binds": "2", "window": "10", "receipt_format": "text_tlv", "long_mo": "udh", "mo_lifetime_seconds": "259200"} {
		f.Field(name).Value = value
	}
	f.Field("bind_types").Values = []string{"receiver", "transmitter", "transceiver"}
	f.Fields = append([]page.Field{{Name: "system_id", Label: "system_id", Max: 15, Placeholder: "acme1", Help: "Up to 15 letters and digits without spaces, nobody else's. Empty: one is made."},
		{Name: "password_length", Label: "Length of the password", Kind: page.Number, Value: "8", Unit: "characters", Help: "8 to 64. Peers that keep strictly to SMPP 3.4 cannot send more than 8."}}, f.Fields...)
	f.Fields = append(f.Fields, site.Key())
	p := v.page(page.Page{Title: "Make an SMPP credential", Lead: "Its password is shown in the next step, once.", Body: v.offer(credentialsWrite, f)}, page.Link{Text: "SMPP credentials", Href: v.at("/smpp-credentials")})
	if !v.Post() {
		return p, nil
	}
	return v.Submit(site.Task{Form: f, Path: v.op("/smpp-credentials"), Once: true, Instead: v.passwordOf("The credential is made")}, func() (page.Page, error) { return p, nil })
}

// passwordOf shows the password of an SMPP credential that was made, and where it binds.
func (v *visit) passwordOf(title string) func(*call.Answer) (page.Page, error) {
	return func(a *call.Answer) (page.Page, error) {
		var made esmeView
		if err := a.Into(&made); err != nil {
			return page.Page{}, err
		}
		more := []page.Block{page.Code{Label: "system_id", Text: made.SystemID}, page.Facts{Title: "Where it binds", Items: made.Connection.facts()}}
		return v.shown(title, "Password", made.Password, v.at("/smpp-credentials/"+url.PathEscape(made.ID)), more...)
	}
}

// facts are host and ports as somebody enters them elsewhere.
func (a smppAddress) facts() []page.Fact {
	host, port, tls := page.None("Its operator has not said"), page.None("It is not served"), page.None("It is not served")
	if a.Host != nil {
		host = page.Mono(*a.Host).WithCopy()
	}
	if a.Port != nil {
		port = page.Mono(strconv.Itoa(*a.Port)).WithCopy()
	}
	if a.TLSPort != nil {
		tls = page.Mono(strconv.Itoa(*a.TLSPort)).WithCopy()
	}
	return []page.Fact{{Label: "Host", Value: host}, {Label: "Port", Value: port}, {Label: "Port with TLS", Value: tls}}
}

func (v *visit) esme() (page.Page, error) { return v.esmePage(nil, site.Tried{}) }

func (v *visit) esmePage(edited *page.Form, tried site.Tried) (page.Page, error) {
	f := v.esmeForm()
	f.Action = v.at("/smpp-credentials/" + v.id())
	var e esmeView
	if err := v.Loaded(f, v.op("/smpp-credentials/"+v.id()), &e); err != nil {
		return page.Page{}, err
	}
	sessions, err := v.binds()
	if err != nil {
		return page.Page{}, err
	}
	facts := page.Facts{Title: "The credential", Items: append([]page.Fact{
		{Label: "State", Value: e.state()}, {Label: "system_id", Value: page.Mono(e.SystemID).WithCopy()}, {Label: "Binds", Help: "Live now, of those that it may have", Value: page.Str(fmt.Sprintf("%d of %d", e.Binds, e.MaxBinds))},
		{Label: "Parts a second", Help: "Over all binds", Value: page.Num(e.Throughput)}, {Label: "Window", Value: page.Num(e.Window)}, {Label: "May bind as", Value: listCell(e.BindTypes, "nothing")},
		{Label: "Comes from", Value: listCell(e.AllowedIPs, "anywhere")}, {Label: "Only over TLS", Value: page.YesNo(e.RequireTLS)}, {Label: "Delivery receipts", Value: page.Str(textOf(receiptFormats, e.ReceiptFormat))},
		{Label: "Long inbound texts", Value: page.Str(textOf(longMO, e.LongMO))}, {Label: "Made", Value: page.When(e.CreatedAt)},
	}, e.Connection.facts()...)}
	left := []page.Block{facts, page.Section{ID: "sessions", Title: "Bound now", Help: "Over all processes of the gateway, the oldest first. A process that dies is noticed after 30 seconds.", Body: []page.Block{sessions}}}
	right := v.readOnly(credentialsWrite)
	if v.May(credentialsWrite) {
		if edited != nil {
			f = edited
		}
		left = append(left, change("It reaches live sessions within five seconds: one that could not bind any more is unbound.", f, edited))
		right = []page.Block{page.Section{ID: "actions", Title: "Actions", Body: site.Deeds(v.at("/smpp-credentials/"+v.id()), v.esmeDeeds(), tried)}}
	}
	return v.page(page.Page{Title: e.SystemID, Body: []page.Block{page.Split{Left: left, Right: right}}}, page.Link{Text: "SMPP credentials", Href: v.at("/smpp-credentials")}), nil
}

// binds is a table of the live sessions.
func (v *visit) binds() (page.Table, error) {
	t := page.Table{Caption: "Bound now", Empty: "Nobody is bound now.", EmptyHelp: "Inbound messages and receipts wait until somebody is.",
		Columns: []page.Column{{Title: "Bound as"}, {Title: "From"}, {Title: "TLS"}, {Title: "SMPP"}, {Title: "Since"}, {Title: "Seen"}}}
	var rows site.Rows[struct {
		BindType string `json:"bind_type"`
		Address  *string
		TLS      bool
		Version  *int   `json:"interface_version"`
		BoundAt  string `json:"bound_at"`
		SeenAt   string `json:"seen_at"`
	}]
	if err := v.Get(v.op("/smpp-credentials/"+v.id()+"/sessions"), nil, &rows); err != nil {
		return t, err
	}
	for _, s := range rows.Data {
		version := page.None("It did not say")
		if s.Version != nil {
			version = page.Str(fmt.Sprintf("%d.%d", *s.Version>>4, *s.Version&0xf))
		}
		t.Rows = append(t.Rows, page.Row{Cells: []page.Cell{page.Str(s.BindType), page.Mono(or(s.Address, "")), page.YesNo(s.TLS), version, page.When(s.BoundAt), page.When(s.SeenAt)}})
	}
	return t, nil
}

func (v *visit) changeESME() (page.Page, error) {
	f := v.esmeForm()
	f.Action = v.at("/smpp-credentials/" + v.id())
	return v.Submit(site.Task{Form: f, Method: http.MethodPatch, Path: v.op("/smpp-credentials/" + v.id()), Then: site.To(f.Action), Said: "The credential is changed."},
		func() (page.Page, error) { return v.esmePage(f, site.Tried{}) })
}

func (v *visit) esmeDeeds() []site.Deed {
	op := v.op("/smpp-credentials/" + v.id())
	return []site.Deed{
		{Name: "regenerate", Summary: "Make a new password…", Submit: "Make a new password", Danger: true, Text: "It is shown once. Sessions of the password before are unbound within five seconds: there is no overlap.",
			Fields: []page.Field{{Name: "password_length", Label: "Length", Kind: page.Number, Value: "8", Unit: "characters", Help: "8 to 64. Peers that keep strictly to SMPP 3.4 cannot send more than 8."}},
			Task:   site.Task{Path: op + "/regenerate", Once: true, Instead: v.passwordOf("There is a new password")}},
		{Name: "remove", Summary: "Take it away…", Submit: "Take the credential away", Danger: true, Text: "This cannot be undone. Its sessions are unbound within five seconds, and its system_id is not given out again. While inbound messages are set to go there it stays.",
			Task: site.Task{Method: http.MethodDelete, Path: op, Then: site.To(v.at("/smpp-credentials")), Said: "The credential is taken away."}},
	}
}

func (v *visit) esmeAct() (page.Page, error) {
	return v.Act(v.at("/smpp-credentials/"+v.id()), v.esmeDeeds(), v.Param("action"), func(t site.Tried) (page.Page, error) { return v.esmePage(nil, t) })
}

// textOf is what an option says, up to its first colon.
func textOf(options []page.Option, value string) string {
	for _, o := range options {
		if o.Value == value {
			text, _, _ := strings.Cut(o.Text, ":")
			return text
		}
	}
	return value
}
