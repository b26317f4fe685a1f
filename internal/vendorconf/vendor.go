package vendorconf

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// Vendor is the settings of a vendor. What it is called and which kind it is never
// changes: the name is that of its queue, on which messages wait.
type Vendor struct {
	DisplayName            string            `json:"display_name" maxLength:"100" doc:"For people"`
	IsActive               bool              `json:"is_active" doc:"false: it is not linked to, and takes nothing"`
	Host                   string            `json:"host" maxLength:"253" doc:"smpp, mm4: its host" example:"smsc.vendor.example"`
	Port                   int               `json:"port" minimum:"0" maximum:"65535" doc:"smpp, mm4: its port" example:"2775"`
	Username               string            `json:"username" maxLength:"64" doc:"smpp: system_id; mm4: of AUTH, empty: nobody logs in; twilio: Account SID, or SID of an API key"`
	UseTLS                 bool              `json:"use_tls" doc:"smpp, mm4: TLS, always verified; mm4: by STARTTLS, or at once on port 465. HTTP vendors have it anyway"`
	TLSCA                  string            `json:"tls_ca" maxLength:"65536" lines:"true" doc:"PEM of who signs its certificate; empty: who the system trusts"`
	TLSServerName          string            `json:"tls_server_name" maxLength:"253" doc:"The name in its certificate, when that is not host"`
	TLSClientCert          string            `json:"tls_client_cert" maxLength:"65536" lines:"true" doc:"PEM of the certificate to show it; its key is tls_client_key"`
	BindType               string            `json:"bind_type" enum:"transmitter,receiver,transceiver" doc:"smpp: how to bind"`
	SystemType             string            `json:"system_type" maxLength:"12" doc:"smpp: system_type of the bind"`
	Throughput             int               `json:"throughput" minimum:"0" maximum:"100000" doc:"Parts a second, over all binds and processes; 0: no limit"`
	MaxBinds               int               `json:"max_binds" minimum:"1" maximum:"100" doc:"Binds at once, over all processes"`
	Window                 int               `json:"window" minimum:"1" maximum:"10000" doc:"Unanswered submits of a bind; of a vendor without binds: of a process"`
	Priority               int               `json:"priority" minimum:"0" maximum:"1000000" doc:"Among routes of one priority, the smaller is asked first"`
	CostPerSMS             string            `json:"cost_per_sms" maxLength:"11" doc:"What it takes for a part, a decimal" example:"0.0031"`
	CostPerMMS             string            `json:"cost_per_mms" maxLength:"11" doc:"What it takes for an MMS, a decimal"`
	SupportsAlphanumeric   bool              `json:"supports_alphanumeric" doc:"It takes alphanumeric senders"`
	SupportsUnicode        bool              `json:"supports_unicode" doc:"It takes texts beyond the GSM alphabet"`
	SupportsMMS            bool              `json:"supports_mms" doc:"It takes MMS"`
	IDFormat               string            `json:"id_format" enum:"same,hex_to_dec,dec_to_hex" doc:"smpp: how ids in receipts differ from those in answers"`
	LongMessage            string            `json:"long_message" enum:"udh,sar,payload" doc:"smpp: how parts of a long message are marked"`
	DefaultAlphabet        string            `json:"default_alphabet" enum:"gsm7,latin1,ascii" doc:"smpp: what data_coding 0 means there"`
	DefaultCoding          int               `json:"default_coding" enum:"0,1,3" doc:"smpp: data_coding of text in the default alphabet"`
	ReceiptGraceSeconds    int               `json:"receipt_grace_seconds" minimum:"1" maximum:"259200" doc:"How long after the end of a message's validity its receipt is waited for"`
	ReceiptPercent         int               `json:"receipt_percent" minimum:"0" maximum:"100" doc:"Of 100 parts that it accepts, how many should get a final receipt; 0: its health is not judged by receipts"`
	ReceiptExpectedSeconds int               `json:"receipt_expected_seconds" minimum:"1" maximum:"259200" doc:"How soon"`
	VendorReplies          string            `json:"vendor_replies" enum:"default,gateway,vendor" doc:"Who answers STOP, START and HELP. default: the gateway, but for STOP and START to toll-free numbers"`
	MediaProfile           string            `json:"media_profile" maxLength:"50" doc:"What media it takes; empty: as its kind does"`
	CodeMap                map[string]string `json:"code_map" nullable:"false" maxProperties:"500" doc:"Its own codes to codes of GET /v1/errors, over the built-in table. It is replaced as a whole"`
	AccountSID             string            `json:"account_sid" maxLength:"64" doc:"twilio: Account SID, when username is an API key"`
	MessagingProfileID     string            `json:"messaging_profile_id" maxLength:"64" doc:"telnyx: messaging profile; twilio: messaging service; empty: none"`
	BaseURL                string            `json:"base_url" maxLength:"500" doc:"HTTP vendors: where their API is; empty: where it usually is"`
	PassTLVs               []string          `json:"pass_tlvs" nullable:"false" maxItems:"100" doc:"smpp: tags, in hex, of customers' optional parameters that it is given" example:"[\"1403\"]"`
	SourceTON              *int              `json:"source_ton" minimum:"0" maximum:"255" doc:"smpp: type of number of senders; null: by the kind of the address"`
	SourceNPI              *int              `json:"source_npi" minimum:"0" maximum:"255" doc:"smpp: numbering plan of senders; null: by the kind of the address"`
	DestTON                *int              `json:"dest_ton" minimum:"0" maximum:"255" doc:"smpp: type of number of recipients; null: by the kind of the address"`
	DestNPI                *int              `json:"dest_npi" minimum:"0" maximum:"255" doc:"smpp: numbering plan of recipients; null: by the kind of the address"`
	AddrTON                int               `json:"addr_ton" minimum:"0" maximum:"255" doc:"smpp: addr_ton of the bind"`
	AddrNPI                int               `json:"addr_npi" minimum:"0" maximum:"255" doc:"smpp: addr_npi of the bind"`
	AddressRange           string            `json:"address_range" maxLength:"40" doc:"smpp: address_range of the bind"`
	ReceiptID              string            `json:"receipt_id" enum:"auto,tlv,text" doc:"smpp: where a receipt says whose it is"`
	ReceiptsUnmarked       bool              `json:"receipts_unmarked" doc:"smpp: its receipts come without the bits of esm_class"`
	EnquireLinkSeconds     int               `json:"enquire_link_seconds" minimum:"1" maximum:"3600" doc:"smpp: an idle bind is asked this often whether it lives"`
	ResponseTimeoutSeconds int               `json:"response_timeout_seconds" minimum:"1" maximum:"600" doc:"How long an answer is waited for"`
	OutbindSystemID        string            `json:"outbind_system_id" maxLength:"15" doc:"smpp: it may connect to us as this; empty: it may not"`
	OutbindAllowedIPs      []string          `json:"outbind_allowed_ips" nullable:"false" maxItems:"100" doc:"smpp: networks (CIDR) from where; none: from anywhere"`
}

// Secrets are what of a vendor is written and never shown. Nil leaves what there is.
type Secrets struct {
	Password        *string // smpp: password; twilio: auth token, or secret of the key; telnyx: API key
	TLSClientKey    *string // PEM
	OutbindPassword *string
	SigningKeys     *[]string // newest first
}

// What the kinds of vendor are called in provider_type.
const (
	kindSMPP   = "smpp"
	kindMM4    = "mm4"
	kindTwilio = "twilio"
	kindTelnyx = "telnyx"
)

// Kinds are what provider_type may be of a vendor that staff add.
func Kinds() []string { return []string{kindSMPP, kindMM4, kindTwilio, kindTelnyx} }

// NewVendor is a vendor with the settings that it has when nothing else is said. What
// is wrong with its name or kind goes into the faults.
func NewVendor(name, kind string, f *Faults) snapshot.Vendor {
	if !nameRule.MatchString(name) {
		f.add("instance_name", "must be 1 to 50 of letters, digits, _ and -")
	}
	if !slices.Contains(Kinds(), kind) {
		f.add("provider_type", "must be one of %s", strings.Join(Kinds(), ", "))
	}
	v := snapshot.Vendor{
		ID: message.NewID(), Name: name, ProviderType: kind, Active: true, BindType: "transceiver", Throughput: 100, Priority: 100, Window: 10, MaxBinds: 1,
		SupportsUnicode: true, IDFormat: "same", LongMessage: "udh", DefaultAlphabet: "gsm7", ReceiptID: "auto", ReceiptPercent: 50,
		ReceiptExpected: 5 * time.Minute, ReceiptGrace: message.ReceiptGrace, EnquireLink: 30 * time.Second, ResponseTimeout: 30 * time.Second,
	}
	if kind == kindMM4 { // it takes nothing else, and its answers are mails that take minutes
		v.SupportsMMS, v.Window = true, mm4Window
	}
	return v
}

// mm4Window is how many messages wait for the answers of a vendor over MM4.
const mm4Window = 50

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,50}$`)

// Overlay lays the settings of a profile, those of them that are set, over a vendor's.
func Overlay(v *snapshot.Vendor, profile snapshot.Vendor) {
	to, from := reflect.ValueOf(v).Elem(), reflect.ValueOf(profile)
	for i := range from.NumField() {
		if f := from.Field(i); !f.IsZero() {
			to.Field(i).Set(f)
		}
	}
}

// VendorOf writes a vendor's settings down.
func VendorOf(v *snapshot.Vendor) Vendor {
	d := Vendor{
		DisplayName: v.DisplayName, IsActive: v.Active, Host: v.Host, Port: v.Port, Username: v.Username, UseTLS: v.UseTLS, TLSCA: v.TLSCA,
		TLSServerName: v.ServerName, TLSClientCert: v.ClientCert, BindType: v.BindType, SystemType: v.SystemType, Throughput: v.Throughput,
		MaxBinds: v.MaxBinds, Window: v.Window, Priority: v.Priority, CostPerSMS: v.CostPerSMS.String(), CostPerMMS: v.CostPerMMS.String(),
		SupportsAlphanumeric: v.SupportsAlphanumeric, SupportsUnicode: v.SupportsUnicode, SupportsMMS: v.SupportsMMS, IDFormat: v.IDFormat,
		LongMessage: v.LongMessage, DefaultAlphabet: v.DefaultAlphabet, DefaultCoding: int(v.DefaultCoding),
		ReceiptGraceSeconds: int(v.ReceiptGrace / time.Second), ReceiptPercent: v.ReceiptPercent, ReceiptExpectedSeconds: int(v.ReceiptExpected / time.Second),
		VendorReplies: "default", MediaProfile: v.MediaProfile, CodeMap: map[string]string{}, AccountSID: v.AccountSID,
		MessagingProfileID: v.MessagingProfileID, BaseURL: v.BaseURL, PassTLVs: []string{}, SourceTON: whole(v.SourceTON), SourceNPI: whole(v.SourceNPI),
		DestTON: whole(v.DestTON), DestNPI: whole(v.DestNPI), AddrTON: int(v.AddressTON), AddrNPI: int(v.AddressNPI), AddressRange: v.AddressRange,
		ReceiptID: v.ReceiptID, ReceiptsUnmarked: v.ReceiptsUnmarked, EnquireLinkSeconds: int(v.EnquireLink / time.Second),
		ResponseTimeoutSeconds: int(v.ResponseTimeout / time.Second), OutbindSystemID: v.OutbindSystemID, OutbindAllowedIPs: []string{},
	}
	if v.Replies != snapshot.RepliesDefault {
		d.VendorReplies = string(v.Replies)
	}
	for code, reason := range v.CodeMap {
		d.CodeMap[code] = string(reason)
	}
	for _, tag := range v.PassTLVs {
		d.PassTLVs = append(d.PassTLVs, fmt.Sprintf("%04X", tag))
	}
	for _, p := range v.OutbindAllowed {
		d.OutbindAllowedIPs = append(d.OutbindAllowedIPs, p.String())
	}
	return d
}

func whole(b *byte) *int {
	if b == nil {
		return nil
	}
	n := int(*b)
	return &n
}

func octet(n *int) *byte {
	if n == nil {
		return nil
	}
	b := byte(*n)
	return &b
}

// Into makes the vendor what the document and the secrets say, unless something of it
// breaks a rule: then the vendor is left half done, and the faults say why.
func (d Vendor) Into(v *snapshot.Vendor, s Secrets) Faults {
	f := checkAll(&d)
	v.DisplayName, v.Active, v.Host, v.Port, v.Username = d.DisplayName, d.IsActive, d.Host, d.Port, d.Username
	v.UseTLS, v.TLSCA, v.ServerName, v.ClientCert = d.UseTLS, d.TLSCA, d.TLSServerName, d.TLSClientCert
	v.BindType, v.SystemType, v.Throughput, v.MaxBinds, v.Window, v.Priority = d.BindType, d.SystemType, d.Throughput, d.MaxBinds, d.Window, d.Priority
	v.CostPerSMS, v.CostPerMMS = f.amount("cost_per_sms", d.CostPerSMS), f.amount("cost_per_mms", d.CostPerMMS)
	v.SupportsAlphanumeric, v.SupportsUnicode, v.SupportsMMS = d.SupportsAlphanumeric, d.SupportsUnicode, d.SupportsMMS
	v.IDFormat, v.LongMessage, v.DefaultAlphabet, v.DefaultCoding = d.IDFormat, d.LongMessage, d.DefaultAlphabet, byte(d.DefaultCoding)
	v.ReceiptGrace, v.ReceiptPercent, v.ReceiptExpected = seconds(d.ReceiptGraceSeconds), d.ReceiptPercent, seconds(d.ReceiptExpectedSeconds)
	v.Replies = snapshot.RepliesDefault
	if d.VendorReplies != "default" {
		v.Replies = snapshot.VendorReplies(d.VendorReplies)
	}
	v.MediaProfile, v.AccountSID, v.MessagingProfileID, v.BaseURL = d.MediaProfile, d.AccountSID, d.MessagingProfileID, d.BaseURL
	v.CodeMap, v.PassTLVs, v.OutbindAllowed = d.codes(&f), d.tags(&f), f.networks("outbind_allowed_ips", d.OutbindAllowedIPs)
	v.SourceTON, v.SourceNPI, v.DestTON, v.DestNPI = octet(d.SourceTON), octet(d.SourceNPI), octet(d.DestTON), octet(d.DestNPI)
	v.AddressTON, v.AddressNPI, v.AddressRange = byte(d.AddrTON), byte(d.AddrNPI), d.AddressRange
	v.ReceiptID, v.ReceiptsUnmarked = d.ReceiptID, d.ReceiptsUnmarked
	v.EnquireLink, v.ResponseTimeout, v.OutbindSystemID = seconds(d.EnquireLinkSeconds), seconds(d.ResponseTimeoutSeconds), d.OutbindSystemID
	s.into(v, &f)
	checkKind(v, &f)
	checkTLS(v, &f)
	return f
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func (d Vendor) codes(f *Faults) map[string]message.Reason {
	m := make(map[string]message.Reason, len(d.CodeMap))
	for code, word := range d.CodeMap {
		reason := message.Reason(word)
		switch {
		case code == "" || len(code) > 32:
			f.add("code_map", "a code has 1 to 32 characters")
		case !reason.Known():
			f.add("code_map", "%q of code %s is no code of GET /v1/errors", clip(word), code)
		}
		m[code] = reason
	}
	return m
}

func (d Vendor) tags(f *Faults) []uint16 {
	list := []uint16{}
	for _, word := range d.PassTLVs {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(word), "0x"), 16, 16)
		switch {
		case err != nil:
			f.add("pass_tlvs", "%q is no tag in hex, such as 1403", clip(word))
		case !smpp.Passable(smpp.Tag(n)):
			f.add("pass_tlvs", "%04X may not be passed on", n)
		case !slices.Contains(list, uint16(n)):
			list = append(list, uint16(n))
		}
	}
	return list
}

func (f *Faults) networks(setting string, words []string) []netip.Prefix {
	list := []netip.Prefix{}
	for _, word := range words {
		p, err := netip.ParsePrefix(word)
		switch {
		case err != nil || p.Addr().Is4In6():
			f.add(setting, "%q is no network in CIDR, such as 198.51.100.0/24", clip(word))
		case p != p.Masked():
			f.add(setting, "%s has bits beyond its mask; want %s", p, p.Masked())
		default:
			list = append(list, p)
		}
	}
	return list
}

func clip(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// into takes over what is given. A fault never says what a secret is.
func (s Secrets) into(v *snapshot.Vendor, f *Faults) {
	set := func(name string, from *string, to *string, most int) {
		if from == nil {
			return
		}
		*to = *from
		if len(*from) > most || strings.ContainsRune(*from, 0) {
			f.add(name, "must have at most %d octets, and none that is zero", most)
		}
	}
	set("password", s.Password, &v.Password, 512)
	set("tls_client_key", s.TLSClientKey, &v.ClientKey, 65536)
	set("outbind_password", s.OutbindPassword, &v.OutbindPassword, 64)
	if s.SigningKeys == nil {
		return
	}
	v.SigningKeys = slices.Clone(*s.SigningKeys)
	if len(v.SigningKeys) > 5 || slices.ContainsFunc(v.SigningKeys, func(k string) bool { return k == "" || len(k) > 1024 }) {
		f.add("signing_keys", "must be at most 5, each of 1 to 1024 octets")
	}
}

// checkKind looks for what the kind of vendor cannot do without.
func checkKind(v *snapshot.Vendor, f *Faults) {
	need := func(setting, value, what string) {
		if value == "" && !f.has(setting) {
			f.add(setting, "is required of %s vendors: %s", v.ProviderType, what)
		}
	}
	switch v.ProviderType {
	case kindSMPP, kindMM4:
		need("host", v.Host, "where it listens")
		if v.Host != "" && !isHost(v.Host) {
			f.add("host", "must be a host name or an address, without a port")
		}
		if v.Port == 0 {
			f.add("port", "must be 1 to 65535")
		}
	case kindTwilio:
		need("username", v.Username, "the Account SID, or the SID of an API key")
		need("password", v.Password, "the auth token, or the secret of the API key in username")
		if v.Username != "" && !strings.HasPrefix(v.Username, "AC") {
			need("account_sid", v.AccountSID, "username is an API key, and does not say whose")
		}
	case kindTelnyx:
		need("password", v.Password, "the API key")
	}
	if v.ProviderType == kindSMPP {
		need("username", v.Username, "the system_id")
		if len(v.Username) > 15 {
			f.add("username", "must have at most 15 octets: it is a system_id")
		}
		if len(v.Password) > 64 {
			f.add("password", "must have at most 64 octets")
		}
	}
	if v.ProviderType == kindMM4 {
		checkMM4(v, need, f)
	}
	if v.BaseURL != "" && !isBaseURL(v.BaseURL) {
		f.add("base_url", "must be an https URL without user name, query and fragment; http is for this machine alone")
	}
	if v.OutbindSystemID != "" && v.OutbindPassword == "" {
		f.add("outbind_password", "is required with outbind_system_id")
	}
}

// checkMM4 looks at a login, which is never said in the clear, and at what an MMSC cannot
// do. Where TLS begins its port says.
func checkMM4(v *snapshot.Vendor, need func(setting, value, what string), f *Faults) {
	switch {
	case v.Username != "":
		need("password", v.Password, "username logs in with it")
	case v.Password != "":
		need("username", v.Username, "there is a password")
	}
	if v.Username != "" && !v.UseTLS {
		f.add("use_tls", "must be true with username: a password is not sent in the clear")
	}
	if !v.SupportsMMS {
		f.add("supports_mms", "must be true of mm4 vendors: they take nothing else")
	}
	if v.ClientCert != "" {
		f.add("tls_client_cert", "must be empty of mm4 vendors: none is shown to them")
	}
}

var hostRule = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || hostRule.MatchString(s)
}

// isBaseURL wants TLS, but for an address of this machine: a vendor's double is there.
func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// checkTLS wants PEM that parses, and a key that fits its certificate.
func checkTLS(v *snapshot.Vendor, f *Faults) {
	if v.TLSCA != "" && !f.has("tls_ca") && !isChain(v.TLSCA) {
		f.add("tls_ca", "must be certificates in PEM, and nothing else")
	}
	switch cert, key := v.ClientCert != "", v.ClientKey != ""; {
	case cert && !key:
		f.add("tls_client_key", "is required with tls_client_cert")
	case key && !cert:
		f.add("tls_client_cert", "is required with tls_client_key")
	case cert && !isChain(v.ClientCert): // all staff see it: a file of both certificate and key will not do
		f.add("tls_client_cert", "must be certificates in PEM, and nothing else; the private key goes into tls_client_key")
	case cert:
		if _, err := tls.X509KeyPair([]byte(v.ClientCert), []byte(v.ClientKey)); err != nil {
			// What the library says may hold some of the key.
			f.add("tls_client_cert", "and tls_client_key must be a certificate and its private key, both in PEM")
		}
	}
}

// isChain reports whether a text is certificates. There may be words around them, but no
// key.
func isChain(text string) bool {
	if strings.Contains(text, "PRIVATE KEY") {
		return false
	}
	rest, n := []byte(text), 0
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		n++
	}
	return n > 0
}
