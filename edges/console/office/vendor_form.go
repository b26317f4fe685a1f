package office

import (
	"net/http"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
	"github.com/postrider/postrider/internal/vendorconf"
)

// vendorField is a setting of a vendor, and of which kinds; empty: all.
type vendorField struct {
	kinds string
	page.Field
}

// vendorFields are in the order in which they are asked for. Values are the defaults of a
// new vendor.
func vendorFields() []vendorField {
	const bound, http = "smpp mm4", "twilio telnyx"
	line := func(kinds, name, label, help string) vendorField {
		return vendorField{kinds, page.Field{Name: name, Label: label, Help: help, Blank: true}}
	}
	number := func(kinds, name, label, value, unit, help string) vendorField {
		return vendorField{kinds, page.Field{Name: name, Label: label, Kind: page.Number, Value: value, Unit: unit, Help: help, Keep: true}}
	}
	check := func(kinds, name, label, value, help string) vendorField {
		return vendorField{kinds, page.Field{Name: name, Label: label, Kind: page.Check, Value: value, Help: help}}
	}
	choice := func(kinds, name, label, value, help string, options ...page.Option) vendorField {
		return vendorField{kinds, page.Field{Name: name, Label: label, Kind: page.Choice, Value: value, Help: help, Options: options, Keep: true}}
	}
	pem := func(kinds, name, label, help string) vendorField {
		return vendorField{kinds, page.Field{Name: name, Label: label, Kind: page.Multiline, Help: help, Blank: true, Placeholder: "-----BEGIN …"}}
	}
	secret := func(kinds, name, label, help string) vendorField {
		return vendorField{kinds, page.Field{Name: name, Label: label, Kind: page.Secret, Help: strings.TrimSpace(help + " It is never shown; empty leaves what there is."), Auto: "new-password"}}
	}
	group := func(title string, f vendorField) vendorField { f.Group = title; return f }
	list := []vendorField{
		group("Who it is", line("", "display_name", "Name for people", "")),
		check("", "is_active", "It is in use", "true", "Else it is not linked to, and takes nothing."),
		group("Connection", line(bound, "host", "Host", "")), number(bound, "port", "Port", "", "", "SMPP: usually 2775, or 3550 with TLS. MM4: 25, or 465 with TLS at once."),
		line("smpp", "username", "system_id", "As whom we bind."), line("mm4", "username", "User of AUTH", "Empty: nobody logs in."), line("twilio", "username", "Account SID or API key SID", ""),
		secret("smpp mm4", "password", "Password", ""), secret("twilio", "password", "Auth token", "Or the secret of the API key."), secret("telnyx", "password", "API key", ""),
		line("twilio", "account_sid", "Account SID", "When we log in by an API key."), line(http, "messaging_profile_id", "Messaging profile or service", "Telnyx: messaging profile; Twilio: messaging service. Empty: none."),
		line(http, "base_url", "URL of its API", "Empty: where it usually is."), secret(http, "_signing_key", "Signing key", "What its webhooks are signed with. It takes the place of all there are."), secret(http, "_signing_key_before", "Signing key before it", "While it changes its key, both are taken."),
		check(bound, "use_tls", "TLS", "", "Always verified. MM4: by STARTTLS, or at once on port 465."),
		choice("smpp", "bind_type", "Bind as", "transceiver", "", words("transceiver", "transmitter", "receiver")...), line("smpp", "system_type", "system_type of the bind", ""),
		group("How much", number("", "throughput", "Throughput", "100", "parts/s", "Over all binds and processes; 0: no limit.")), number("smpp", "max_binds", "Binds at once", "1", "", "Over all processes."),
		number("", "window", "Window", "10", "", "Unanswered submits of a bind; of a vendor without binds: of a process."), number("", "response_timeout_seconds", "An answer is waited for", "30", "seconds", ""),
		number("smpp", "enquire_link_seconds", "An idle bind is asked every", "30", "seconds", "Whether it lives."),
		group("What it takes, and for how much", check("", "supports_alphanumeric", "Alphanumeric senders", "", "")), check("", "supports_unicode", "Texts beyond the GSM alphabet", "true", ""), check("", "supports_mms", "MMS", "", ""),
		line("", "media_profile", "Media profile", "What files it takes; empty: as its kind does."),
		{"", page.Field{Name: "cost_per_sms", Label: "Cost of an SMS part", Kind: page.Amount, Value: "0.00", Keep: true}}, {"", page.Field{Name: "cost_per_mms", Label: "Cost of an MMS", Kind: page.Amount, Value: "0.00", Keep: true}},
		number("", "priority", "Priority", "100", "", "Among routes of one priority, the smaller is asked first."),
		group("Delivery reports and answers", number("", "receipt_percent", "Parts that should get a final receipt", "50", "of 100", "Its health is judged by that; 0: not by receipts.")), number("", "receipt_expected_seconds", "How soon", "300", "seconds", ""),
		number("", "receipt_grace_seconds", "A receipt is waited for", "", "seconds", "After the end of a message's validity. Empty: as usual."),
		choice("", "vendor_replies", "Who answers STOP, START and HELP", "default", "", page.Option{Value: "default", Text: "the gateway, but for STOP and START to toll-free numbers"}, page.Option{Value: "gateway", Text: "the gateway"}, page.Option{Value: "vendor", Text: "the vendor"}),
		{"", page.Field{Name: "code_map", Label: "Its codes", Kind: page.Pairs, Help: "Its own codes to codes of ours, over the built-in table: one a line, as in 30007: carrier_filtered."}},
		group("SMPP in detail", choice("smpp", "id_format", "Ids in receipts", "same", "", page.Option{Value: "same", Text: "as in answers"}, page.Option{Value: "hex_to_dec", Text: "decimal, where answers have hex"}, page.Option{Value: "dec_to_hex", Text: "hex, where answers have decimals"})),
		choice("smpp", "receipt_id", "Where a receipt says whose it is", "auto", "", page.Option{Value: "auto", Text: "found out"}, page.Option{Value: "tlv", Text: "optional parameter"}, page.Option{Value: "text", Text: "text"}), check("smpp", "receipts_unmarked", "Receipts come without the bits of esm_class", "", ""),
		choice("smpp", "long_message", "Parts of a long message", "udh", "", page.Option{Value: "udh", Text: "user data header"}, page.Option{Value: "sar", Text: "sar parameters"}, page.Option{Value: "payload", Text: "message_payload, whole"}),
		choice("smpp", "default_alphabet", "data_coding 0 means", "gsm7", "", page.Option{Value: "gsm7", Text: "GSM"}, page.Option{Value: "latin1", Text: "Latin 1"}, page.Option{Value: "ascii", Text: "ASCII"}),
		number("smpp", "default_coding", "data_coding of such text", "0", "", "0, 1 or 3."), {"smpp", page.Field{Name: "pass_tlvs", Label: "Optional parameters passed on", Kind: page.Lines, Help: "Tags in hex, a line each, of customers' parameters that it is given."}},
	}
	for _, f := range []struct{ name, label string }{{"source_ton", "TON of senders"}, {"source_npi", "NPI of senders"}, {"dest_ton", "TON of recipients"}, {"dest_npi", "NPI of recipients"}} {
		list = append(list, vendorField{"smpp", page.Field{Name: f.name, Label: f.label, Kind: page.Number, Help: "Empty: by the kind of the address."}})
	}
	return append(list, number("smpp", "addr_ton", "addr_ton of the bind", "0", "", ""), number("smpp", "addr_npi", "addr_npi of the bind", "0", "", ""), line("smpp", "address_range", "address_range of the bind", ""),
		group("It connects to us (outbind)", line("smpp", "outbind_system_id", "As", "Empty: it may not.")), secret("smpp", "outbind_password", "Outbind password", ""),
		vendorField{"smpp", page.Field{Name: "outbind_allowed_ips", Label: "From these networks", Kind: page.Lines, Help: "CIDR, a line each; none: from anywhere."}},
		group("Certificates", pem(bound, "tls_ca", "Who signs its certificate", "PEM; empty: who the system trusts.")), line(bound, "tls_server_name", "Name in its certificate", "When that is not the host."),
		pem(bound, "tls_client_cert", "Certificate to show it", "PEM."), vendorField{bound, page.Field{Name: "tls_client_key", Label: "Key of that certificate", Kind: page.Multiline, Keep: true, Help: "PEM. It is never shown; empty leaves what there is.", Placeholder: "-----BEGIN …"}})
}

// vendorForm asks for the settings of a kind of vendor.
func vendorForm(kind string) *page.Form {
	form := &page.Form{Submit: "Save"}
	title := ""
	for _, f := range vendorFields() {
		if f.Group != "" {
			title = f.Group
		}
		if f.kinds != "" && !slices.Contains(strings.Fields(f.kinds), kind) {
			continue
		}
		f.Group, title = title, "" // of the first of a group that this kind has
		form.Fields = append(form.Fields, f.Field)
	}
	if kind == "mm4" {
		form.Field("window").Value, form.Field("supports_mms").Value = "50", "true"
	}
	return form
}

// signingKeys makes the list of keys, of the fields in which they are typed.
func signingKeys(form *page.Form) func(map[string]any) map[string]any {
	return func(body map[string]any) map[string]any {
		var keys []string
		for _, name := range []string{"_signing_key", "_signing_key_before"} {
			if f := form.Field(name); f != nil && f.Value != "" {
				keys = append(keys, f.Value)
			}
		}
		if len(keys) > 0 {
			body["signing_keys"] = keys
		}
		if f := form.Field("code_map"); form.Patch && f.Value == "" {
			body["code_map"] = map[string]string{}
		}
		return body
	}
}

// withoutSecrets forgets what was typed and is not shown.
func withoutSecrets(form *page.Form) {
	if f := form.Field("tls_client_key"); f != nil {
		f.Value = ""
	}
}

func (o *office) newVendor(v *site.Visit) (page.Page, error) {
	kind := v.R.URL.Query().Get("kind")
	if !slices.Contains(vendorconf.Kinds(), kind) {
		kind = vendorconf.Kinds()[0]
	}
	form := vendorForm(kind)
	form.Action, form.Submit, form.Cancel = v.At("/vendors/new?kind="+kind), "Add the vendor", page.Link{Href: v.At("/vendors")}
	form.Fields[0].Group = ""
	head := []page.Field{{Name: "instance_name", Label: "Name", Group: "Who it is", Required: true, Max: 50, Help: "In paths, queues, logs and metrics: letters, digits, _ and -. It never changes.", Placeholder: "acme-1"},
		{Name: "provider_type", Kind: page.Hidden, Value: kind}}
	if kind == "smpp" {
		head = append(head, page.Field{Name: "profile", Label: "Settings of", Help: "Settings that are shipped for some vendors stand under what is said here. Empty: none.", Suggest: []string{"sinch"}})
	}
	usual := map[string]string{}
	for _, f := range form.Fields {
		usual[f.Name] = f.Value
	}
	form.Fields = append(append(head, form.Fields...), site.Key())
	// What is as usual is left out, so that it does not stand over the settings of a profile.
	said := func(body map[string]any) map[string]any {
		for name, value := range usual {
			if got := form.Field(name).Value; got == value || got == "false" && value == "" {
				delete(body, name)
			}
		}
		return signingKeys(form)(body)
	}
	show := func() (page.Page, error) {
		withoutSecrets(form)
		tabs := page.Tabs{Label: "Kind of vendor"}
		for _, k := range vendorconf.Kinds() {
			tabs.Items = append(tabs.Items, page.Link{Text: kindName(k), Href: v.At("/vendors/new?kind=" + k), Current: k == kind})
		}
		return page.Page{Title: "Add a vendor", Lead: "It is linked to within seconds. It gets messages when a route leads there.", Crumbs: []page.Link{{Text: "Vendors", Href: v.At("/vendors")}, {Text: "Add"}},
			Body: append(onlyOperators(v), tabs, form)}, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Path: api + "/vendors", Once: true, Body: said, Then: site.ToMade(v.At("/vendors")), Said: "The vendor is added. It is linked to within seconds; messages come when a route leads there."}, show)
}

func (o *office) editVendor(v *site.Visit) (page.Page, error) {
	var w vendorView
	path := api + "/vendors/" + v.ID()
	if err := v.Get(path, nil, &w); err != nil {
		return page.Page{}, err
	}
	form := vendorForm(w.Kind)
	form.Patch, form.Cancel = true, page.Link{Href: v.At("/vendors/" + v.ID())}
	show := func() (page.Page, error) {
		withoutSecrets(form)
		return page.Page{Title: "Edit " + w.Name, Lead: kindName(w.Kind) + ". Changes hold on every process within 5 seconds; a link is made anew only for what it is made from.",
			Crumbs: []page.Link{{Text: "Vendors", Href: v.At("/vendors")}, {Text: w.Name, Href: v.At("/vendors/" + v.ID())}, {Text: "Edit"}}, Body: append(onlyOperators(v), form)}, nil
	}
	if !v.Post() {
		if err := v.Loaded(form, path, nil); err != nil {
			return page.Page{}, err
		}
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPatch, Path: path, Body: signingKeys(form), Then: site.To(v.At("/vendors/" + v.ID())), Said: "Changed."}, show)
}
