package office

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// smppUserView is what a customer's ESME binds with, or a vendor that binds to us.
type smppUserView struct {
	ID            string
	Kind          string
	AccountID     *string `json:"account_id"`
	VendorID      *string `json:"vendor_id"`
	SystemID      string  `json:"system_id"`
	Password      *string
	Enabled       bool
	AllowedIPs    []string `json:"allowed_ips"`
	MaxBinds      int      `json:"max_binds"`
	Throughput    int
	Window        int
	BindTypes     []string `json:"bind_types"`
	RequireTLS    bool     `json:"require_tls"`
	ReceiptFormat string   `json:"receipt_format"`
	LongMO        string   `json:"long_mo"`
	MOLifetime    int      `json:"mo_lifetime_seconds"`
	Alphabet      string   `json:"default_alphabet"`
	Binds         int      `json:"live_binds"`
	Connection    struct {
		Host    string
		Port    *int
		TLSPort *int `json:"tls_port"`
	} `json:"connection_info"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func (o *office) smppUsers(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Filter of SMPP users", Fields: []page.Field{{Name: "system_id", Label: "system_id", Max: 15},
		{Name: "kind", Label: "Whose", Kind: page.Choice, Options: anyOf([]page.Option{{Value: "customer", Text: "customers"}, {Value: "vendor", Text: "vendors"}})}, d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "any"}), d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "any"})}}
	rows, err := site.List[smppUserView](v, api+"/smpp-users", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	t := page.Table{Caption: "SMPP users", Empty: "There is no SMPP user that fits.", EmptyHelp: "A customer needs one to bind.", EmptyLink: page.Link{Text: "Add an SMPP user", Href: v.At("/smpp-users/new")},
		Columns: []page.Column{{Title: "system_id"}, {Title: "Whose"}, {Title: "State"}, {Title: "Binds", Right: true, Help: "Live ones, of how many at once"}, {Title: "Parts/s", Right: true, Help: "Over all its binds"}, {Title: "Window", Right: true, Help: "Unanswered requests of a session, each way"}, {Title: "From", Help: "Networks that may bind"}, {Title: "Changed"}}}
	t = site.Table(v, rows, t, func(u smppUserView) page.Row {
		binds := page.Str(fmt.Sprintf("%d of %d", u.Binds, u.MaxBinds))
		if u.Binds > 0 {
			binds.Href = v.At("/sessions")
		}
		return page.Row{Cells: []page.Cell{page.CodeTo(u.SystemID, v.At("/smpp-users/"+url.PathEscape(u.ID))), d.owner(v, u.AccountID, u.VendorID), page.On(u.Enabled), binds, page.Num(u.Throughput), page.Num(u.Window), networks(u.AllowedIPs), page.When(u.UpdatedAt)}}
	})
	p := page.Page{Title: "SMPP users", Lead: "What customers' ESMEs bind with, and vendors that bind to us.", Body: append(onlyOperators(v), filter, t)}
	if operates(v) {
		p.Actions = []page.Action{{Text: "Add an SMPP user", Href: v.At("/smpp-users/new"), Main: true}}
	}
	return p, nil
}

// networks are those that may connect.
func networks(list []string) page.Cell {
	switch len(list) {
	case 0:
		return page.Str("anywhere")
	case 1:
		return page.Mono(list[0])
	}
	return page.Mono(list[0]).WithSub(fmt.Sprintf("and %d more", len(list)-1)).WithHelp(strings.Join(list, ", "))
}

// quotaFields are how much a user may take at a time.
func quotaFields() []page.Field {
	return []page.Field{{Name: "throughput", Label: "Throughput", Kind: page.Number, Required: true, Value: "100", Unit: "parts/s", Slider: 1000, Help: "Over all its binds."}, {Name: "max_binds", Label: "Binds at once", Kind: page.Number, Required: true, Value: "2", Help: "Over all processes. Live ones beyond a lower number are unbound, the newest first."}, {Name: "window", Label: "Window", Kind: page.Number, Required: true, Value: "10", Help: "Unanswered requests of a session, each way."}}
}

func smppUserFields() []page.Field {
	return []page.Field{{Name: "enabled", Label: "It may bind", Kind: page.Check, Value: "true", Help: "Else what is owed to it waits."}, {Name: "allowed_ips", Label: "From these networks", Kind: page.Lines, Help: "CIDR, a line each, such as 203.0.113.0/24; none: from anywhere."}, {Name: "require_tls", Label: "Only over TLS", Kind: page.Check},
		{Name: "bind_types", Label: "Bind types", Kind: page.Choices, Values: []string{"transceiver", "transmitter", "receiver"}, Options: words("transceiver", "transmitter", "receiver")},
		{Name: "receipt_format", Label: "Receipts", Kind: page.Choice, Value: "text_tlv", Options: []page.Option{{Value: "text_tlv", Text: "text and optional parameters"}, {Value: "text", Text: "text"}}},
		{Name: "long_mo", Label: "Long inbound texts", Kind: page.Choice, Value: "udh", Options: []page.Option{{Value: "udh", Text: "parts with a user data header"}, {Value: "sar", Text: "parts with sar parameters"}, {Value: "payload", Text: "whole, in message_payload"}}},
		{Name: "mo_lifetime_seconds", Label: "A deliver_sm is held", Kind: page.Number, Required: true, Value: "259200", Unit: "seconds", Help: "While nobody is bound."},
		{Name: "default_alphabet", Label: "data_coding 0 means", Kind: page.Choice, Value: "gsm7", Options: []page.Option{{Value: "gsm7", Text: "GSM"}, {Value: "latin1", Text: "Latin 1"}, {Value: "ascii", Text: "ASCII"}}}}
}

func (o *office) newSMPPUser(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	fields := []page.Field{d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "none: it is a vendor's", Group: "Whose"}), d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "none: it is a customer's", Help: "One that binds to us."}),
		{Name: "system_id", Label: "system_id", Group: "How it binds", Max: 15, Help: "Empty: one is made."}, {Name: "password_length", Label: "Length of its password", Kind: page.Number, Value: "8", Help: "Peers that keep strictly to SMPP 3.4 cannot send more than 8."}}
	fields = append(fields, smppUserFields()...)
	quota := quotaFields()
	quota[0].Group = "How much"
	form := &page.Form{Submit: "Add the SMPP user", Cancel: page.Link{Href: v.At("/smpp-users")}, Fields: append(append(fields, quota...), site.Key())}
	show := func() (page.Page, error) {
		return page.Page{Title: "Add an SMPP user", Lead: "Its password is made here and shown once. It may bind within seconds.", Crumbs: []page.Link{{Text: "SMPP users", Href: v.At("/smpp-users")}, {Text: "Add"}}, Body: append(onlyOperators(v), form)}, nil
	}
	if !v.Post() {
		form.Field("account_id").Value = v.R.URL.Query().Get("account_id")
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/smpp-users", Once: true, Instead: func(a *call.Answer) (page.Page, error) { return shownOnce(v, a, "The SMPP user is added") }}, show)
}

// shownOnce is the page on which a password stands that was just made.
func shownOnce(v *site.Visit, a *call.Answer, title string) (page.Page, error) {
	var u smppUserView
	if err := a.Into(&u); err != nil {
		return page.Page{}, err
	}
	at := v.At("/smpp-users/" + url.PathEscape(u.ID))
	p := page.Page{Title: title, Crumbs: []page.Link{{Text: "SMPP users", Href: v.At("/smpp-users")}, {Text: u.SystemID, Href: at}}, Actions: []page.Action{{Text: "Go to " + u.SystemID, Href: at, Main: true}}}
	if u.Password == nil {
		p.Body = []page.Block{page.Notice{Tone: page.Warn, Title: "The password was shown before.", Text: "This is the same request once more. Make a new password if it was lost."}}
		return p, nil
	}
	p.Body = []page.Block{page.Code{Label: "system_id", Text: u.SystemID}, page.Code{Label: "password", Text: *u.Password, Secret: true}, connection(&u)}
	return p, nil
}

func connection(u *smppUserView) page.Block {
	port := func(p *int) page.Cell {
		if p == nil {
			return page.None("It is not served")
		}
		return page.Mono(fmt.Sprint(*p)).WithCopy()
	}
	host := page.None("Where customers reach the gateway is not set")
	if u.Connection.Host != "" {
		host = page.Mono(u.Connection.Host).WithCopy()
	}
	return page.Facts{Title: "Where it binds", Items: []page.Fact{{Label: "Host", Value: host}, {Label: "Port", Value: port(u.Connection.Port)}, {Label: "Port for TLS", Value: port(u.Connection.TLSPort)}}}
}

func (o *office) smppUser(v *site.Visit) (page.Page, error) {
	form := &page.Form{Patch: true, Submit: "Save", Fields: smppUserFields()}
	if !v.Post() {
		return o.smppUserPage(v, form, nil)
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: api + "/smpp-users/" + v.ID(), Then: site.To(v.At("/smpp-users/" + v.ID())), Said: "Changed. It reaches live sessions within 5 seconds."},
		func() (page.Page, error) { return o.smppUserPage(v, form, nil) })
}

// smppUserPage shows one; the forms hold what was sent and is wrong, or nothing yet.
func (o *office) smppUserPage(v *site.Visit, settings, quota *page.Form) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	path, at := api+"/smpp-users/"+v.ID(), v.At("/smpp-users/"+v.ID())
	var u smppUserView
	fresh := &page.Form{Patch: true, Submit: "Save", Fields: smppUserFields()}
	amount := &page.Form{Submit: "Set", Fields: quotaFields()}
	for _, f := range []*page.Form{fresh, amount} {
		if err := v.Loaded(f, path, &u); err != nil {
			return page.Page{}, err
		}
	}
	if settings != nil && settings.Failed() {
		fresh = settings
	}
	if quota != nil {
		amount = quota
	}
	fresh.Action, amount.Action = at, at+"/quota"
	amount.Fields[0].Slider = max(1000, 2*u.Throughput)
	state := page.On(u.Enabled)
	facts := page.Facts{Title: "The SMPP user", Items: []page.Fact{{Label: "Whose", Value: d.owner(v, u.AccountID, u.VendorID)}, {Label: "State", Value: state}, {Label: "Live binds", Value: page.Str(fmt.Sprintf("%d of %d", u.Binds, u.MaxBinds))}, {Label: "Parts/s", Value: page.Num(u.Throughput)}, {Label: "Window", Value: page.Num(u.Window)},
		{Label: "From", Value: networks(u.AllowedIPs)}, {Label: "TLS", Value: page.Str(map[bool]string{true: "needed", false: "as it likes"}[u.RequireTLS])}, {Label: "Bind types", Value: page.Str(strings.Join(u.BindTypes, ", "))}, {Label: "Added", Value: page.When(u.CreatedAt)}, {Label: "Changed", Value: page.When(u.UpdatedAt)}}}
	var sessions site.Rows[sessionView]
	owner := url.Values{"protocol": {"smpp"}, "limit": {fmt.Sprint(mostNames)}}
	for name, id := range map[string]*string{"account_id": u.AccountID, "vendor_id": u.VendorID} {
		if id != nil {
			owner.Set(name, *id)
		}
	}
	if err := v.Get(api+"/sessions", owner, &sessions); err != nil {
		return page.Page{}, err
	}
	binds := page.Table{Caption: "Live sessions", Empty: "It is not bound now.", Columns: []page.Column{{Title: "Bind"}, {Title: "State"}, {Title: "From"}, {Title: "Process"}, {Title: "Since"}, {Title: "End"}}}
	for _, s := range sessions.Data {
		if s.Name == nil || *s.Name != u.SystemID {
			continue
		}
		row := sessionRow(v, d, &s)
		end := page.None("Operators end sessions")
		if len(row.Cells) > 8 {
			end = row.Cells[8]
		}
		binds.Rows = append(binds.Rows, page.Row{Cells: []page.Cell{page.Strp(s.BindType), row.Cells[3], row.Cells[4], row.Cells[6], row.Cells[7], end}})
	}
	p := page.Page{Title: "SMPP user " + u.SystemID, Crumbs: []page.Link{{Text: "SMPP users", Href: v.At("/smpp-users")}, {Text: u.SystemID}}, Body: append(onlyOperators(v), facts, connection(&u), page.Section{ID: "sessions", Title: "Live sessions", Body: []page.Block{binds}})}
	if operates(v) {
		p.Body = append(p.Body, page.Split{Left: []page.Block{page.Section{ID: "settings", Title: "Settings", Body: []page.Block{fresh}}}, Right: []page.Block{page.Section{ID: "quota", Title: "Quota", Help: "What a customer may send in a day or month are the customer's limits.", Body: []page.Block{amount}},
			page.Section{ID: "actions", Title: "Actions", Body: []page.Block{
				page.Disclosure{Summary: "New password…", Danger: true, Body: []page.Block{page.Text("The one there is no longer binds, and its sessions are unbound within 5 seconds. The new one is shown once."), &page.Form{Action: at + "/regenerate", Submit: "Make a new password", Danger: true, Fields: []page.Field{{Name: "password_length", Label: "Length", Kind: page.Number, Value: "8"}}}}},
				page.Disclosure{Summary: "Delete…", Danger: true, Body: []page.Block{page.Text("Its sessions are unbound within 5 seconds, and what is held for them ends in its time. Its system_id is not given out again. Refused while inbound messages are set to go there."), pressed(at+"/delete", "Delete the SMPP user", true)}}}}}})
	}
	return p, nil
}

func (o *office) setQuota(v *site.Visit) (page.Page, error) {
	form := &page.Form{Submit: "Set", Fields: quotaFields()}
	return v.Submit(site.Task{Form: form, Method: http.MethodPut, Path: api + "/smpp-users/" + v.ID() + "/quota", Then: site.To(v.At("/smpp-users/" + v.ID())), Said: "The quota is set."},
		func() (page.Page, error) { return o.smppUserPage(v, nil, form) })
}

func (o *office) regenerateSMPPUser(v *site.Visit) (page.Page, error) {
	form := &page.Form{Fields: []page.Field{{Name: "password_length", Label: "Length", Kind: page.Number}}}
	body, ok := form.Read(v.R)
	if !ok {
		return v.DoneWith(v.At("/smpp-users/"+v.ID()), page.Notice{Tone: page.Bad, Text: "The length must be a whole number, 8 to 64. The password was not changed."})
	}
	got, err := v.Do(call.Request{Method: http.MethodPost, Path: api + "/smpp-users/" + v.ID() + "/regenerate", Body: body})
	if err != nil {
		return page.Page{}, err
	}
	return shownOnce(v, got, "The password is new")
}

func (o *office) deleteSMPPUser(v *site.Visit) (page.Page, error) {
	if _, err := v.Do(call.Request{Method: http.MethodDelete, Path: api + "/smpp-users/" + v.ID()}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/smpp-users"), "The SMPP user is deleted.")
}
