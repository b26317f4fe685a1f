package office

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// peerView is an MMSC that speaks MM4 with us.
type peerView struct {
	ID        string
	Name      string
	AccountID *string `json:"account_id"`
	VendorID  *string `json:"vendor_id"`
	Active    bool    `json:"is_active"`
	Addresses []string
	Domains   []string `json:"mail_domains"`
	Host      string
	Port      int
	TLS       string
	User      string `json:"auth_username"`
	AuthSet   bool   `json:"auth_password_set"`
	SendSet   bool   `json:"send_password_set"`
	SizeLimit int    `json:"size_limit"`
	Pending   int
	Problem   *string
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

func (o *office) peers(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	filter := &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Filter of MM4 peers", Fields: []page.Field{d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "any"}), d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "any"})}}
	rows, err := site.List[peerView](v, api+"/mm4-peers", filter, nil)
	if err != nil {
		return page.Page{}, err
	}
	t := page.Table{Caption: "MM4 peers", Empty: "There is no MM4 peer that fits.", EmptyHelp: "A customer or vendor who sends MMS by mail needs one.", EmptyLink: page.Link{Text: "Add an MM4 peer", Href: v.At("/mm4-peers/new")},
		Columns: []page.Column{{Title: "Peer"}, {Title: "Whose"}, {Title: "State"}, {Title: "Connects from"}, {Title: "Takes mails at"}, {Title: "Logs in as"}, {Title: "Owed", Right: true, Help: "Responses and reports that it is owed"}, {Title: "Changed"}}}
	t = site.Table(v, rows, t, func(p peerView) page.Row {
		state := page.On(p.Active)
		r := page.Row{}
		if p.Problem != nil {
			state, r.Tone = page.Badge("broken", page.Bad, "").WithSub(*p.Problem), page.Bad
		}
		r.Cells = []page.Cell{page.To(p.Name, v.At("/mm4-peers/"+url.PathEscape(p.ID))), d.owner(v, p.AccountID, p.VendorID), state, networks(p.Addresses), peerPlace(&p), page.Str(p.User), page.Num(p.Pending), page.When(p.UpdatedAt)}
		return r
	})
	p := page.Page{Title: "MM4 peers", Lead: "MMSCs of customers and vendors: how they connect to us, and we to them.", Body: append(onlyOperators(v), filter, t)}
	if operates(v) {
		p.Actions = []page.Action{{Text: "Add an MM4 peer", Href: v.At("/mm4-peers/new"), Main: true}}
	}
	return p, nil
}

func peerPlace(p *peerView) page.Cell {
	if p.Host == "" {
		return page.None("Its vendor's host, or nothing is sent to it")
	}
	if p.Port == 0 {
		return page.Mono(p.Host).WithSub("TLS " + p.TLS)
	}
	return page.Mono(fmt.Sprintf("%s:%d", p.Host, p.Port)).WithSub("TLS " + p.TLS)
}

// peerForm asks for the settings of a peer, as they are when nothing else is said.
func peerForm() *page.Form {
	number := func(name, label, value, unit, help string) page.Field {
		return page.Field{Name: name, Label: label, Kind: page.Number, Required: true, Value: value, Unit: unit, Help: help}
	}
	return &page.Form{Patch: true, Submit: "Save", Fields: []page.Field{
		{Name: "is_active", Label: "It may connect", Kind: page.Check, Value: "true", Group: "How it connects to us", Help: "Else what is owed to it waits for its time."},
		{Name: "addresses", Label: "From these networks", Kind: page.Lines, Required: true, Help: "CIDR, a line each; at least one.", Placeholder: "198.51.100.7/32"},
		{Name: "mail_domains", Label: "Domains of its MAIL FROM", Kind: page.Lines, Help: "They tell peers behind one address apart; none: any that is no other peer's there."},
		{Name: "require_tls", Label: "It must say STARTTLS first", Kind: page.Check}, {Name: "auth_username", Label: "User of its AUTH", Blank: true, Max: 64, Help: "Which needs TLS. Empty: none."},
		{Name: "auth_password", Label: "Password of its AUTH", Kind: page.Secret, Auto: "new-password", Help: "12 to 72 characters. It is never shown; empty leaves what there is."},
		number("size_limit", "A mail at most", "8388608", "octets", ""), number("max_sessions", "Connections at once", "20", "", "To each process."), number("max_recipients", "Recipients of a mail", "20", "", ""), number("rate", "Mails a second", "0", "", "0: no limit."), number("data_seconds", "Time for one mail", "900", "seconds", "From DATA to its end."),
		{Name: "host", Label: "Host", Group: "How we connect to it", Blank: true, Max: 253, Help: "Where a customer's peer takes mails; empty: nothing is sent to it. Of a vendor's its vendor says that."}, number("port", "Port", "0", "", "0: 25, or 465 with implicit TLS."), {Name: "mx", Label: "The host is a domain, whose mail exchangers take the mails", Kind: page.Check},
		{Name: "tls", Label: "TLS", Kind: page.Choice, Value: "opportunistic", Options: words("never", "opportunistic", "required", "implicit")}, {Name: "tls_ca", Label: "Who signs its certificate", Kind: page.Multiline, Blank: true, Help: "PEM; empty: who the system trusts."}, {Name: "tls_server_name", Label: "Name in its certificate", Blank: true, Help: "When that is not the host."},
		{Name: "send_username", Label: "User of our AUTH", Blank: true, Max: 64, Help: "Empty: none."}, {Name: "send_password", Label: "Password of our AUTH", Kind: page.Secret, Auto: "new-password", Help: "It is never shown; empty leaves what there is."},
		{Name: "domain", Label: "Domain of its users", Group: "What its messages look like", Blank: true, Help: "Empty: the host."}, {Name: "system_user", Label: "Its system's address", Value: "system-user", Required: true, Help: "The part before the @."}, {Name: "mms_version", Label: "Version of MMS", Value: "6.10.0", Required: true},
		number("mo_lifetime_seconds", "A message to it is tried", "259200", "seconds", ""),
	}}
}

func (o *office) newPeer(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	form := peerForm()
	form.Patch, form.Submit, form.Cancel = false, "Add the MM4 peer", page.Link{Href: v.At("/mm4-peers")}
	form.Fields = append(append([]page.Field{{Name: "name", Label: "Name", Required: true, Max: 50, Group: "Who it is", Help: "In logs and metrics: letters, digits, _, . and -. It never changes."}, d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "none: it is a vendor's"}), d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "none: it is a customer's", Help: "One of the kind MM4."})}, form.Fields...), site.Key())
	show := func() (page.Page, error) {
		return page.Page{Title: "Add an MM4 peer", Lead: "It may connect within seconds.", Crumbs: []page.Link{{Text: "MM4 peers", Href: v.At("/mm4-peers")}, {Text: "Add"}}, Body: append(onlyOperators(v), form)}, nil
	}
	if !v.Post() {
		form.Field("account_id").Value = v.R.URL.Query().Get("account_id")
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/mm4-peers", Once: true, Then: site.ToMade(v.At("/mm4-peers")), Said: "The MM4 peer is added. It may connect within seconds."}, show)
}

// peer shows and changes one.
func (o *office) peer(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	var w peerView
	form, path, at := peerForm(), api+"/mm4-peers/"+v.ID(), v.At("/mm4-peers/"+v.ID())
	if err := v.Loaded(form, path, &w); err != nil {
		return page.Page{}, err
	}
	form.Action = at
	show := func() (page.Page, error) {
		set := map[bool]string{true: "set", false: "none"}
		facts := page.Facts{Title: "The peer", Items: []page.Fact{{Label: "Whose", Value: d.owner(v, w.AccountID, w.VendorID)}, {Label: "State", Value: page.On(w.Active)}, {Label: "Connects from", Value: networks(w.Addresses)}, {Label: "Takes mails at", Value: peerPlace(&w)}, {Label: "It logs in as", Value: page.Str(w.User)},
			{Label: "Its password", Value: page.Str(set[w.AuthSet])}, {Label: "Our password there", Value: page.Str(set[w.SendSet])}, {Label: "Owed", Value: page.Num(w.Pending), Help: "Responses and reports that it is owed"}, {Label: "Added", Value: page.When(w.CreatedAt)}, {Label: "Changed", Value: page.When(w.UpdatedAt)}}}
		p := page.Page{Title: "MM4 peer " + w.Name, Crumbs: []page.Link{{Text: "MM4 peers", Href: v.At("/mm4-peers")}, {Text: w.Name}}, Body: onlyOperators(v)}
		if w.Problem != nil {
			p.Body = append(p.Body, page.Notice{Tone: page.Bad, Title: "It is out of the configuration.", Text: *w.Problem})
		}
		if p.Body = append(p.Body, facts); operates(v) {
			remove := page.Disclosure{Summary: "Delete…", Danger: true, Body: []page.Block{page.Text("It can no longer connect, and the " + plural(w.Pending, "response or report") + " that it is owed end as failed."), pressed(at+"/delete", "Delete the MM4 peer", true)}}
			p.Body = append(p.Body, page.Split{Left: []page.Block{page.Section{ID: "settings", Title: "Settings", Body: []page.Block{form}}}, Right: []page.Block{page.Section{Title: "Actions", Body: []page.Block{page.Bullets{page.To("Its sessions", v.At("/sessions?protocol=mm4"))}, remove}}}})
		}
		return p, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Then: site.To(at), Said: "Changed. It holds within 5 seconds, from the next mail on."}, show)
}

func (o *office) deletePeer(v *site.Visit) (page.Page, error) {
	if _, err := v.Do(call.Request{Method: http.MethodDelete, Path: api + "/mm4-peers/" + v.ID()}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/mm4-peers"), "The MM4 peer is deleted.")
}
