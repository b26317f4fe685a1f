package account

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

const numbersReadScope = "numbers:read"

// connectionView is where the gateway is reached, as the API has it.
type connectionView struct {
	APIURL *string `json:"api_url"`
	SMPP   smppAddress
	MM4    struct {
		Host   *string
		Port   *int
		Domain *string
	}
	Sources []string `json:"source_addresses"`
}

// connection shows where to connect, with samples that hold the account's own values. None
// of them holds a secret: those are in the environment.
func (v *visit) connection() (page.Page, error) {
	var c connectionView
	if err := v.Get(v.op("/connection-info"), nil, &c); err != nil {
		return page.Page{}, err
	}
	s := sample{url: or(c.APIURL, v.origin()), from: "+12025550143", to: "+13105550117", key: "your key", systemID: "your system_id", window: 10, smpp: c.SMPP}
	if err := v.ownValues(&s); err != nil {
		return page.Page{}, err
	}
	api := []page.Fact{{Label: "Address", Value: page.Mono(s.url).WithCopy()}, {Label: "Key", Help: "The name of HTTP Basic", Value: page.Mono(s.key).WithCopy()}, {Label: "Secret", Value: page.Str("was shown once, when the key was made")}}
	if c.APIURL == nil {
		api[0].Value = api[0].Value.WithSub("the address of this page: the operator has not said another")
	}
	mm4 := []page.Fact{{Label: "Host", Value: page.Mono(or(c.MM4.Host, ""))}, {Label: "Port", Value: page.None("It is not served")}, {Label: "Domain", Help: "Of our numbers' addresses", Value: page.Mono(or(c.MM4.Domain, ""))}}
	if c.MM4.Port != nil {
		mm4[1].Value = page.Mono(strconv.Itoa(*c.MM4.Port)).WithCopy()
	}
	firewall := page.Bullets{}
	for _, a := range c.Sources {
		firewall = append(firewall, page.Mono(a).WithCopy())
	}
	if len(firewall) == 0 {
		firewall = page.Bullets{page.Str("The operator has not said where webhooks and MM4 sessions come from. Check their signatures instead of addresses.")}
	}
	body := []page.Block{
		page.Section{ID: "rest", Title: "REST", Actions: []page.Action{{Text: "API reference", Href: "/docs"}}, Body: []page.Block{page.Facts{Title: "REST", Items: api},
			page.Code{Label: "A message with curl", Text: s.curl()},
			page.Disclosure{Summary: "With Go", Body: []page.Block{page.Code{Label: "A message with Go", Text: s.golang()}}},
			page.Disclosure{Summary: "With Python", Body: []page.Block{page.Code{Label: "A message with Python", Text: s.python()}}},
			page.Disclosure{Summary: "With Node", Body: []page.Block{page.Code{Label: "A message with Node", Text: s.node()}}},
			page.Bullets{page.To("Receive webhooks and check their signatures", "/docs/webhooks"), page.To("What each error code means", "/docs/errors")}}},
		page.Section{ID: "smpp", Title: "SMPP", Help: "Version 3.4; host and ports for every SMPP credential.", Body: []page.Block{page.Facts{Title: "SMPP", Items: c.SMPP.facts()}, page.Code{Label: "Settings of an SMPP client", Text: s.smppSettings()}}},
		page.Section{ID: "mm4", Title: "MM4", Help: "For carriers and MMS centres. The operator sets up the peer.", Body: []page.Block{page.Facts{Title: "MM4", Items: mm4}}},
		page.Section{ID: "firewall", Title: "Where the gateway comes from", Help: "What you open in a firewall for webhooks and MM4.", Body: []page.Block{firewall}},
	}
	return v.page(page.Page{Title: "Connect", Lead: "Where the gateway is reached, with samples that hold this account's own values. No secret is shown here.", Body: body}), nil
}

// origin is the address of this page.
func (v *visit) origin() string {
	if v.Secure {
		return "https://" + v.R.Host
	}
	return "http://" + v.R.Host
}

// ownValues puts a number and the names of credentials into the samples, as far as the
// reader may see them.
func (v *visit) ownValues(s *sample) error {
	var numbers site.Rows[struct{ Number string }]
	var keys site.Rows[credentialView]
	var esmes site.Rows[esmeView]
	one := url.Values{"limit": {"1"}}
	if err := v.Get(v.op("/numbers"), one, &numbers); err != nil {
		return err
	}
	if v.Sees(credentialsWrite) {
		if err := cmp.Or(v.Get(v.op("/api-credentials"), one, &keys), v.Get(v.op("/smpp-credentials"), one, &esmes)); err != nil {
			return err
		}
	}
	for _, n := range numbers.Data {
		s.from = n.Number
	}
	for _, k := range keys.Data {
		s.key = k.Key
	}
	for _, e := range esmes.Data {
		s.systemID, s.window = e.SystemID, e.Window
	}
	return nil
}

// sample is what the samples hold of an account.
type sample struct {
	url, from, to, key, systemID string
	window                       int
	smpp                         smppAddress
}

func (s *sample) curl() string {
	return fmt.Sprintf(`export API_KEY=%s API_SECRET=…

curl -sS %s/v1/messages -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' -H "Idempotency-Key: $(uuidgen)" \
  -d '{"from":"%s","to":"%s","body":"Hello"}'`, shellWord(s.key), s.url, s.from, s.to)
}

// shellWord quotes what a shell would take apart.
func shellWord(text string) string {
	if strings.ContainsAny(text, " ") {
		return "'" + text + "'"
	}
	return text
}

func (s *sample) golang() string {
	return fmt.Sprintf(`package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	body := strings.NewReader(`+"`"+`{"from":"%s","to":"%s","body":"Hello"}`+"`"+`)
	request, err := http.NewRequest(http.MethodPost, "%s/v1/messages", body)
	if err != nil {
		log.Fatal(err)
	}
	request.SetBasicAuth(os.Getenv("API_KEY"), os.Getenv("API_SECRET"))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", "order-8812") // the same when you repeat the request
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status, string(answer)) // 202 and the message's id
}
`, s.from, s.to, s.url)
}

func (s *sample) python() string {
	return fmt.Sprintf(`import os
import requests

answer = requests.post(
    "%s/v1/messages",
    auth=(os.environ["API_KEY"], os.environ["API_SECRET"]),
    headers={"Idempotency-Key": "order-8812"},  # the same when you repeat the request
    json={"from": "%s", "to": "%s", "body": "Hello"},
    timeout=30,
)
print(answer.status_code, answer.json())  # 202 and the message's id
`, s.url, s.from, s.to)
}

func (s *sample) node() string {
	return fmt.Sprintf(`const key = Buffer.from(process.env.API_KEY + ":" + process.env.API_SECRET).toString("base64");

const answer = await fetch("%s/v1/messages", {
  method: "POST",
  headers: {
    Authorization: "Basic " + key,
    "Content-Type": "application/json",
    "Idempotency-Key": "order-8812", // the same when you repeat the request
  },
  body: JSON.stringify({ from: "%s", to: "%s", body: "Hello" }),
});
console.log(answer.status, await answer.json()); // 202 and the message's id
`, s.url, s.from, s.to)
}

func (s *sample) smppSettings() string {
	port := func(n *int) string {
		if n == nil {
			return "not served"
		}
		return strconv.Itoa(*n)
	}
	return fmt.Sprintf(`host               %s
port               %s
port with TLS      %s
system_id          %s
password           was shown once, when the credential was made
bind               transceiver, SMPP 3.4
source TON, NPI    1, 1 for +12025550143; 5, 0 for letters; 3, 1 for a short code
destination        TON 1, NPI 1, with or without +
data_coding        0 GSM 7-bit (default alphabet), 8 UCS-2
enquire_link       every 30 s
window             %d`, or(s.smpp.Host, "ask the operator"), port(s.smpp.Port), port(s.smpp.TLSPort), s.systemID, s.window)
}
