package office

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// sessionView is a live session of SMPP or MM4 that somebody has opened to us.
type sessionView struct {
	ID        string
	Protocol  string
	Kind      *string
	AccountID *string `json:"account_id"`
	VendorID  *string `json:"vendor_id"`
	Name      *string
	BindType  *string `json:"bind_type"`
	State     string
	Address   *string
	TLS       bool
	Version   *int `json:"interface_version"`
	Mails     *int
	Replica   string
	Ending    bool
	BeganAt   string `json:"began_at"`
	SeenAt    string `json:"seen_at"`
}

func sessionFilter(d *directory) *page.Form {
	return &page.Form{Method: "get", Inline: true, Submit: "Show", Label: "Filter of sessions", Fields: []page.Field{
		{Name: "protocol", Label: "Protocol", Kind: page.Choice, Options: anyOf([]page.Option{{Value: "smpp", Text: "SMPP"}, {Value: "mm4", Text: "MM4"}})},
		{Name: "kind", Label: "Whose", Kind: page.Choice, Options: anyOf([]page.Option{{Value: "customer", Text: "customers"}, {Value: "vendor", Text: "vendors"}})},
		d.customerField(page.Field{Name: "account_id", Label: "Customer", Placeholder: "any"}), d.vendorField(page.Field{Name: "vendor_id", Label: "Vendor", Placeholder: "any"}), {Name: "replica", Label: "Process"}}}
}

func (o *office) sessions(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	filter := sessionFilter(d)
	table, err := sessionTable(v, d, filter)
	if err != nil {
		return page.Page{}, err
	}
	return page.Page{Title: "Sessions", Lead: "Who is connected to us over SMPP and MM4 now, to whichever process. Our own links to vendors stand at the vendors.",
		Body: []page.Block{filter, page.Live{Path: v.At("/sessions/live?" + v.R.URL.RawQuery), Label: "Sessions now", Body: []page.Block{table}}}}, nil
}

func (o *office) sessionsLive(v *site.Visit) (page.Page, error) {
	d, err := directoryOf(v)
	if err != nil {
		return page.Page{}, err
	}
	return v.Stream(overviewEvery, func(context.Context) ([]page.Block, error) {
		t, err := sessionTable(v, d, sessionFilter(d))
		return []page.Block{t}, err
	})
}

func sessionTable(v *site.Visit, d *directory, filter *page.Form) (page.Block, error) {
	rows, err := site.List[sessionView](v, api+"/sessions", filter, nil)
	if err != nil {
		return nil, err
	}
	t := page.Table{Caption: "Sessions", Empty: "Nobody is connected.", EmptyHelp: "Leave out a part of the filter. A customer who cannot bind may have a wrong password, or come from an address that is not allowed: see SMPP users and MM4 peers.",
		Columns: []page.Column{{Title: "Name", Help: "The system_id, or the name of the MM4 peer"}, {Title: "Whose"}, {Title: "Protocol"}, {Title: "State"}, {Title: "From"}, {Title: "Mails", Right: true, Help: "Of MM4: that were taken, at most 10 seconds ago"}, {Title: "Process"}, {Title: "Since"}}}
	if operates(v) {
		t.Columns = append(t.Columns, page.Column{Title: "End"})
	}
	return site.Table(v, rows, t, func(s sessionView) page.Row { return sessionRow(v, d, &s) }), nil
}

func sessionRow(v *site.Visit, d *directory, s *sessionView) page.Row {
	name, from, mails := page.None("It has not shown who it is"), page.Strp(s.Address), page.None("Of MM4 alone")
	if s.Name != nil {
		name = page.Mono(*s.Name)
		if s.Protocol == "smpp" {
			name.Href = v.At("/smpp-users/" + url.PathEscape(*s.Name))
		} else {
			name.Href = v.At("/mm4-peers/" + url.PathEscape(*s.Name))
		}
	}
	from = from.WithSub("without TLS")
	if s.TLS {
		from = from.WithSub("over TLS")
	}
	if s.Mails != nil {
		mails = page.Num(*s.Mails)
	}
	protocol := page.Str(map[string]string{"smpp": "SMPP", "mm4": "MM4"}[s.Protocol])
	if s.BindType != nil {
		sub := *s.BindType
		if s.Version != nil {
			sub += fmt.Sprintf(", version %d.%d", *s.Version>>4, *s.Version&15)
		}
		protocol = protocol.WithSub(sub)
	}
	state := page.Badge(s.State, page.Good, map[string]string{"bound": "It can send and receive as its bind type says", "opening": "It is being greeted", "idle": "It is between two mails", "mail": "A mail is begun", "data": "A mail is coming", "commit": "A mail is being written down"}[s.State])
	if s.Ending {
		state = page.Badge("ending", page.Warn, "Its end was asked for")
	}
	state = state.WithSub(unseen(&s.SeenAt))
	r := page.Row{Cells: []page.Cell{name, d.owner(v, s.AccountID, s.VendorID), protocol, state, from, mails, page.Mono(s.Replica), page.When(s.BeganAt)}}
	if operates(v) {
		end := page.To("End…", v.At("/sessions/"+url.PathEscape(s.ID)+"/end"))
		if s.Ending {
			end = page.None("Its end was asked for")
		}
		r.Cells = append(r.Cells, end)
	}
	return r
}

// endSession asks whether to end one, and does it.
func (o *office) endSession(v *site.Visit) (page.Page, error) {
	if !v.Post() {
		return page.Page{Title: "End a session", Crumbs: []page.Link{{Text: "Sessions", Href: v.At("/sessions")}, {Text: "End"}}, Body: append(onlyOperators(v),
			page.Text("An SMPP session is unbound once what it has under way is answered; an MM4 session is told to come back later. It takes at most 5 seconds, and no message is lost."),
			page.Notice{Tone: page.Warn, Text: "Nothing keeps the peer from coming back at once. To keep it out, switch its SMPP user or MM4 peer off."},
			&page.Form{Submit: "End the session", Danger: true, Cancel: page.Link{Text: "Leave it", Href: v.At("/sessions")}})}, nil
	}
	if _, err := v.Do(call.Request{Method: http.MethodDelete, Path: api + "/sessions/" + v.ID()}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/sessions"), "The session ends within 5 seconds.")
}
