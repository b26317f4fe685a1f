package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// Accounts keeps what customers may see and change of their accounts and numbers. Every
// call is for one account; what is another's is ReasonNotFound. What changes something
// leaves a line in the audit log.
type Accounts interface {
	Customer(ctx context.Context, account message.ID) (snapshot.Customer, error)
	// ChangeOwnAccount calls change with the account under a lock, and keeps what is the
	// customer's to change.
	ChangeOwnAccount(ctx context.Context, by message.Actor, account message.ID, change func(*snapshot.Customer) error) (snapshot.Customer, error)
	OwnNumbers(ctx context.Context, account message.ID, f snapshot.NumberFilter, after message.Address, limit int) ([]snapshot.NumberState, error)
	OwnNumber(ctx context.Context, account message.ID, number message.Address) (snapshot.NumberState, error)
	// ChangeOwnNumber keeps tag and group.
	ChangeOwnNumber(ctx context.Context, by message.Actor, account message.ID, number message.Address, change func(*snapshot.NumberState) error) (snapshot.NumberState, error)
}

// Connection is where customers reach the gateway, as far as that is known to its
// operator. Empty and 0 are not served, or not said.
type Connection struct {
	APIURL          string
	SMPPHost        string
	SMPPPort        int
	SMPPTLSPort     int
	MM4Host         string
	MM4Port         int
	MM4Domain       string
	SourceAddresses []string // that the gateway connects from
}

type accountResource struct {
	_                    struct{} `json:"-" additionalProperties:"true"`
	ID                   string   `json:"id" format:"uuid"`
	Name                 string   `json:"name" example:"Acme"`
	Status               string   `json:"status" enum:"active,suspended,closed"`
	TimeZone             string   `json:"time_zone" doc:"IANA name; limits count its days and months" example:"America/New_York"`
	DefaultMessageClass  string   `json:"default_message_class" enum:"otp,conversation,bulk"`
	Delivery             string   `json:"delivery" enum:"at_most_once,at_least_once" doc:"What happens with a message whose submit is in doubt, unless it says so itself"`
	OrderedConversations *bool    `json:"ordered_conversations" doc:"Whether messages of a conversation leave in order; null: those that come over SMPP"`
	InternalDelivery     bool     `json:"internal_delivery" doc:"Messages to numbers of this gateway stay in the house"`
	MediaTranscoding     string   `json:"media_transcoding" enum:"auto,bypass" doc:"For messages over REST that do not say"`
	SmartEncoding        bool     `json:"smart_encoding" doc:"Look-alikes replace characters that GSM 7-bit lacks"`
	MaxParts             int      `json:"max_parts" minimum:"1" maximum:"255" doc:"More parts than that are refused"`
	ContentRetentionDays int      `json:"content_retention_days" minimum:"0" maximum:"3650" doc:"Days after which texts are removed; 0: within hours of the end"`
	DefaultCountry       string   `json:"default_country" doc:"ISO 3166: of numbers that come without a country code" example:"US"`
	AllowedSources       []string `json:"allowed_source_addresses" nullable:"false" doc:"Senders that are allowed beside owned numbers; the operator sets them"`
	ForceSource          *string  `json:"force_source_address" doc:"Replaces every sender; the operator sets it"`
	CreatedAt            string   `json:"created_at" format:"date-time"`
	UpdatedAt            string   `json:"updated_at" format:"date-time"`
}

func accountOf(c snapshot.Customer) accountResource {
	return accountResource{ID: c.ID.String(), Name: c.CompanyName, Status: string(c.Status), TimeZone: c.TimeZone, DefaultMessageClass: string(c.DefaultClass),
		Delivery: string(c.Delivery), OrderedConversations: c.OrderedConversations, InternalDelivery: c.InternalDelivery, MediaTranscoding: c.MediaTranscoding,
		SmartEncoding: c.SmartEncoding, MaxParts: c.MaxParts, ContentRetentionDays: c.ContentRetentionDays, DefaultCountry: c.DefaultCountry,
		AllowedSources: append([]string{}, c.AllowedSourceAddresses...), ForceSource: optional(string(c.ForceSourceAddress)), CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt)}
}

// accountTag is of what the owner sees, but for when it was changed: what staff change of
// the rest is no change of it.
func accountTag(c snapshot.Customer) string {
	c.UpdatedAt = time.Time{}
	return contentTag("account", accountOf(c))
}

// accountBody is what PATCH takes, as the document shows it.
type accountBody struct {
	Name                 string `json:"name,omitempty" minLength:"1" maxLength:"200"`
	TimeZone             string `json:"time_zone,omitempty" example:"America/New_York"`
	DefaultMessageClass  string `json:"default_message_class,omitempty" enum:"otp,conversation,bulk"`
	Delivery             string `json:"delivery,omitempty" enum:"at_most_once,at_least_once"`
	OrderedConversations *bool  `json:"ordered_conversations,omitempty" nullable:"true" doc:"null: over SMPP only"`
	InternalDelivery     *bool  `json:"internal_delivery,omitempty"`
	MediaTranscoding     string `json:"media_transcoding,omitempty" enum:"auto,bypass"`
	SmartEncoding        *bool  `json:"smart_encoding,omitempty"`
	MaxParts             int    `json:"max_parts,omitempty" minimum:"1" maximum:"255"`
	ContentRetentionDays *int   `json:"content_retention_days,omitempty" minimum:"0" maximum:"3650"`
	DefaultCountry       string `json:"default_country,omitempty" minLength:"2" maxLength:"2"`
}

// accountMember reads a member of a PATCH into the account.
func accountMember(c *snapshot.Customer) func(d *decoder, name, location string) (bool, error) {
	return func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "name":
			return true, d.text(location, &c.CompanyName, oneLine)
		case "time_zone":
			return true, d.text(location, &c.TimeZone, oneLine)
		case "default_message_class":
			return true, d.choice(location, (*string)(&c.DefaultClass), string(message.ClassOTP), string(message.ClassConversation), string(message.ClassBulk))
		case "delivery":
			return true, d.choice(location, (*string)(&c.Delivery), string(message.AtMostOnce), string(message.AtLeastOnce))
		case "ordered_conversations":
			if d.peek() == 'n' { // merge patch (RFC 7396): as their edge has it
				c.OrderedConversations = nil
			}
			return true, d.flag(location, &c.OrderedConversations)
		case "internal_delivery":
			return true, d.bool(location, &c.InternalDelivery)
		case "media_transcoding":
			return true, d.choice(location, &c.MediaTranscoding, "auto", mediaBypass)
		case "smart_encoding":
			return true, d.bool(location, &c.SmartEncoding)
		case "max_parts":
			return true, d.ranged(location, &c.MaxParts, 1, 255)
		case "content_retention_days":
			return true, d.ranged(location, &c.ContentRetentionDays, 0, 3650)
		case "default_country":
			return true, d.text(location, &c.DefaultCountry, oneLine)
		case "id", "status", "allowed_source_addresses", "force_source_address", "created_at", "updated_at":
			d.invalid(location, "is shown, and not changed here; ask the operator")
			return true, d.skip()
		}
		return false, nil
	}
}

// bool reads true or false; null leaves it.
func (d *decoder) bool(location string, into *bool) error {
	var v *bool
	err := d.flag(location, &v)
	if v != nil {
		*into = *v
	}
	return err
}

func checkAccount(d *decoder, c *snapshot.Customer) {
	if c.CompanyName == "" {
		d.invalid("body.name", "must not be empty")
	}
	d.most("body.name", c.CompanyName, maxName)
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" || c.TimeZone == "Local" {
		d.invalid("body.time_zone", "must be a time zone's name, such as America/New_York or UTC")
	}
	if a := c.DefaultCountry; len(a) != 2 || a[0] < 'A' || a[0] > 'Z' || a[1] < 'A' || a[1] > 'Z' {
		d.invalid("body.default_country", "must be a country's two capital letters, such as US")
	}
}

type accountChange struct {
	IfMatch
	RawBody []byte
}

func (s *Server) registerAccount(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Account"}
	read := access{scope: scopeAccountWrite, rate: asRequest}
	register(api, s.operation(huma.Operation{
		OperationID: "getAccount", Method: http.MethodGet, Path: "/v1/account", Tags: tags, Summary: "Read the account",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/account -u "$API_KEY:$API_SECRET"`),
	}, read), s.getAccount, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "changeAccount", Method: http.MethodPatch, Path: "/v1/account", Tags: tags, Summary: "Change the account's settings",
		Description: "A merge patch: what is left out stays. It holds for messages that are accepted from then on, everywhere within 5 seconds.",
		Extensions:  example(`curl -sS -X PATCH ` + exampleHost + `/v1/account -u "$API_KEY:$API_SECRET" -H 'Content-Type: application/json' -d '{"time_zone":"America/New_York","max_parts":6}'`),
	}, access{scope: scopeAccountWrite, rate: asRequest, bodies: []string{jsonType, patchType}}, 400, 412, 413, 415), s.changeAccount, bodyOf[accountBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "getConnectionInfo", Method: http.MethodGet, Path: "/v1/connection-info", Tags: tags, Summary: "See where the gateway is reached, and where it comes from",
		Description: "What you open in a firewall. null: not served, or its operator has not said.",
		Extensions:  example(`curl -sS ` + exampleHost + `/v1/connection-info -u "$API_KEY:$API_SECRET"`),
	}, access{scope: scopeNumbersRead, rate: asRequest}), s.getConnection, nil)
}

var errNoOwn = message.Refuse(message.ReasonUnavailable, "the account's settings are not served here")

func (s *Server) getAccount(ctx context.Context, _ *struct{}) (*entity[accountResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Accounts == nil {
		return nil, s.problem(x, errNoOwn, 0)
	}
	c, err := s.Accounts.Customer(ctx, x.caller.account.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &entity[accountResource]{ETag: accountTag(c), Body: accountOf(c)}, nil
}

func (s *Server) changeAccount(ctx context.Context, in *accountChange) (*entity[accountResource], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if s.Accounts == nil {
		return nil, s.problem(x, errNoOwn, 0)
	}
	status := 0
	c, err := s.Accounts.ChangeOwnAccount(ctx, x.changer(), x.caller.account.ID, func(c *snapshot.Customer) error {
		if err := in.check(accountTag(*c)); err != nil {
			return err
		}
		var refusal *message.Error
		if status, refusal = readObject(in.RawBody, accountMember(c), func(d *decoder) { checkAccount(d, c) }); refusal != nil {
			return refusal
		}
		return nil
	})
	if err != nil {
		return nil, s.problem(x, err, max(status, changeStatus(err)))
	}
	return &entity[accountResource]{ETag: accountTag(c), Body: accountOf(c)}, nil
}

type smppPlace struct {
	_       struct{} `json:"-" additionalProperties:"true"`
	Host    *string  `json:"host" example:"smpp.gw.example"`
	Port    *int     `json:"port" example:"2775"`
	TLSPort *int     `json:"tls_port" example:"2776"`
}

type mm4Place struct {
	_      struct{} `json:"-" additionalProperties:"true"`
	Host   *string  `json:"host" example:"mm4.gw.example"`
	Port   *int     `json:"port" example:"2566"`
	Domain *string  `json:"domain" doc:"Of our numbers' addresses" example:"mms.gw.example"`
}

type connectionResource struct {
	_               struct{}  `json:"-" additionalProperties:"true"`
	APIURL          *string   `json:"api_url" example:"https://gw.example"`
	SMPP            smppPlace `json:"smpp"`
	MM4             mm4Place  `json:"mm4"`
	SourceAddresses []string  `json:"source_addresses" nullable:"false" doc:"Addresses or networks that webhooks and MM4 sessions come from; empty: not said" example:"[\"192.0.2.10\"]"`
}

func optionalPort(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func (c Connection) smpp() smppPlace {
	return smppPlace{Host: optional(c.SMPPHost), Port: optionalPort(c.SMPPPort), TLSPort: optionalPort(c.SMPPTLSPort)}
}

func (s *Server) getConnection(context.Context, *struct{}) (*output[connectionResource], error) {
	c := s.Connection
	return &output[connectionResource]{Body: connectionResource{APIURL: optional(c.APIURL), SMPP: c.smpp(),
		MM4:             mm4Place{Host: optional(c.MM4Host), Port: optionalPort(c.MM4Port), Domain: optional(c.MM4Domain)},
		SourceAddresses: append([]string{}, c.SourceAddresses...)}}, nil
}
