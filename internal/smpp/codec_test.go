package smpp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/linxGnu/gosmpp/data"
	"github.com/linxGnu/gosmpp/pdu"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/fuzztest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const submitVector = "0000003b 00000004 00000000 00000002 00 0101 313535353132333030303100 0101 313535353132333030303200" +
	"00 00 00 00 00 01 00 00 00 04 48692000"

// vectors are PDUs built by hand and checked with a second implementation.
var vectors = []struct {
	name   string
	hex    string
	status Status
	seq    uint32
	body   PDU
}{
	{"bind_transceiver", "00000021 00000009 00000000 00000001 61636d6500 73336372657400 00 34 00 00 00", 0, 1,
		&Bind{Mode: ModeTransceiver, SystemID: "acme", Password: "s3cret", InterfaceVersion: 0x34}},
	{"bind_transceiver_resp", "00000018 80000009 00000000 00000001 677700 0210 0001 34", 0, 1,
		&BindResp{Mode: ModeTransceiver, SystemID: "gw", TLVs: TLVs{{Tag: TagSCInterfaceVersion, Data: []byte{0x34}}}}},
	{"submit_sm", submitVector, 0, 2, &SubmitSM{Message{
		Source: Address{1, 1, "15551230001"}, Dest: Address{1, 1, "15551230002"},
		RegisteredDelivery: 1, ShortMessage: []byte{0x48, 0x69, 0x20, 0x00}}}},
	{"submit_sm part", "0000003f 00000004 00000000 00000002 00 0101 313535353132333030303100 0101 313535353132333030303200" +
		"40 00 00 00 00 01 00 00 00 08 0500032a0201 4142", 0, 2, &SubmitSM{Message{
		Source: Address{1, 1, "15551230001"}, Dest: Address{1, 1, "15551230002"}, ESMClass: 0x40,
		RegisteredDelivery: 1, ShortMessage: []byte{5, 0, 3, 0x2a, 2, 1, 'A', 'B'}}}},
	{"throttled", "00000010 80000004 00000058 0000000a", StatusThrottled, 10, &SubmitSMResp{}},
	{"nack", "00000010 80000000 00000003 00000009", StatusInvCmdID, 9, &GenericNack{}},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.hex)
			p, err := Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if p.Status != v.status || p.Sequence != v.seq || !reflect.DeepEqual(p.Body, v.body) {
				t.Errorf("decoded %v %d %+v, want %v %d %+v", p.Status, p.Sequence, p.Body, v.status, v.seq, v.body)
			}
			got, err := Append(nil, v.status, v.seq, v.body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("encoded\n%x, want\n%x", got, want)
			}
		})
	}
}

// Every request that is cut short is refused, with its sequence number and in
// step; no response is ever refused for missing its end.
func TestTruncatedBodies(t *testing.T) {
	for _, body := range samplePDUs() {
		whole, err := Append(nil, StatusOK, 77, body)
		if err != nil {
			t.Fatal(err)
		}
		for n := HeaderSize; n < len(whole); n++ {
			cut := append([]byte(nil), whole[:n]...)
			cut[2], cut[3] = byte(n>>8), byte(n)
			p, err := Decode(cut)
			if p.Sequence != 77 {
				t.Fatalf("%T cut at %d: sequence %d", body, n, p.Sequence)
			}
			var bad *DecodeError
			if errors.As(err, &bad) && (bad.OutOfStep || bad.Status == StatusOK) {
				t.Fatalf("%T cut at %d: %+v", body, n, bad)
			}
			if _, multi := body.(*SubmitMultiResp); isResponse(body.CommandID()) && !multi && err != nil {
				t.Errorf("%T cut at %d: %v", body, n, err)
			}
		}
	}
}

func TestRequestStatuses(t *testing.T) {
	long := strings.Repeat("31", 60)
	for _, tt := range []struct {
		name, hex string
		id        CommandID
		want      Status
	}{
		{"service_type too long", "41424344454600", IDSubmitSM, StatusInvServiceType},
		{"source of 21 characters", "00 0101" + long, IDSubmitSM, StatusInvSource},
		{"destination of 21 characters", "00 0101 00 0101" + long, IDSubmitSM, StatusInvDest},
		{"schedule of 17 characters", "00 0000 00 0000 00 00 00 00" + long, IDSubmitSM, StatusInvSchedule},
		{"validity of 17 characters", "00 0000 00 0000 00 00 00 00 00" + long, IDSubmitSM, StatusInvExpiry},
		{"sm_length 255", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 ff" + strings.Repeat("41", 255), IDSubmitSM, StatusInvMsgLen},
		{"sm_length beyond body", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 05 41", IDSubmitSM, StatusInvMsgLen},
		{"tlv beyond body", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 00 0424 0005 41", IDSubmitSM, StatusInvOptParStream},
		{"tlv cut", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 00 04 24 00", IDSubmitSM, StatusInvOptParStream},
		{"sar length", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 00 020c 0001 41", IDSubmitSM, StatusInvParLen},
		{"65 tlvs", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 00" + strings.Repeat("14000000", 65), IDSubmitSM, StatusInvOptParStream},
		{"64 tlvs", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 00" + strings.Repeat("14000000", 64), IDSubmitSM, StatusOK},
		{"nul after text", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 01 41 00", IDSubmitSM, StatusOK},
		{"nul between text and tlv", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 01 41 00 0204 0002 0001", IDSubmitSM, StatusOK},
		{"three octets at the end", "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 01 41 414243", IDSubmitSM, StatusInvOptParStream},
		{"system_id of 16", strings.Repeat("41", 16) + "00", IDBindTransmitter, StatusInvSystemID},
		{"password of 64", "4100" + strings.Repeat("42", 64) + "00 00 34 00 00 00", IDBindTransmitter, StatusOK},
		{"password of 65", "4100" + strings.Repeat("42", 65) + "00 00 34 00 00 00", IDBindTransmitter, StatusInvPassword},
		{"system_type", "4100 4200" + strings.Repeat("43", 13) + "00", IDBindTransmitter, StatusInvSystemType},
		{"query_sm with tlv", "00 00 00 00 0000 0000", IDQuerySM, StatusOK},
		{"query_sm long id", long + long, IDQuerySM, StatusInvMsgID},
		{"multi no destination", "00 0000 00 00", IDSubmitMulti, StatusInvNumDests},
		{"multi 255 destinations", "00 0000 00 ff", IDSubmitMulti, StatusInvNumDests},
		{"multi flag 3", "00 0000 00 01 03", IDSubmitMulti, StatusInvDestFlag},
		{"multi list without name", "00 0000 00 01 02 00", IDSubmitMulti, StatusNoDistList},
		{"enquire_link with zeros", "00000000", IDEnquireLink, StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Decode(frame(tt.id, 0, 5, unhex(t, tt.hex)))
			got := StatusOK
			var bad *DecodeError
			if errors.As(err, &bad) {
				got = bad.Status
			}
			if got != tt.want || p.Sequence != 5 {
				t.Errorf("status %v sequence %d, want %v 5", got, p.Sequence, tt.want)
			}
		})
	}
}

// frame builds a raw PDU.
func frame(id CommandID, st Status, seq uint32, body []byte) []byte {
	h := pdu.Header{CommandLength: int32(HeaderSize + len(body)), CommandID: id,
		CommandStatus: data.CommandStatusType(st), SequenceNumber: int32(seq)}
	buf := pdu.NewBuffer(nil)
	h.Marshal(buf)
	return append(buf.Bytes(), body...)
}

func TestNulAfterTextIsDropped(t *testing.T) {
	body := unhex(t, "00 0000 00 0000 00 00 00 00 00 00 00 00 00 00 01 41 00 0204 0002 0001")
	p, err := Decode(frame(IDSubmitSM, 0, 1, body))
	if err != nil {
		t.Fatal(err)
	}
	m := p.Body.(*SubmitSM)
	if v, ok := m.TLVs.Uint16(TagUserMessageReference); !ok || v != 1 || string(m.ShortMessage) != "A" {
		t.Errorf("got %q %v", m.ShortMessage, m.TLVs)
	}
}

func TestBodylessResponses(t *testing.T) {
	for _, body := range samplePDUs() {
		id := body.CommandID()
		if !isResponse(id) {
			continue
		}
		for _, st := range []Status{StatusOK, StatusSystemError} {
			p, err := Decode(frame(id, st, 3, nil))
			if err != nil || p.Body == nil || p.Status != st {
				t.Errorf("%T status %v without body: %v", body, st, err)
			}
		}
	}
}

func TestUnterminatedMessageID(t *testing.T) {
	p, err := Decode(frame(IDSubmitSMResp, 0, 3, []byte("abc123")))
	if err != nil {
		t.Fatal(err)
	}
	if id := p.Body.(*SubmitSMResp).MessageID; id != "abc123" {
		t.Errorf("id %q", id)
	}
}

func TestWriteRefusesBadFields(t *testing.T) {
	ok := Message{Dest: Address{1, 1, "15551230001"}}
	edit := func(f func(*Message)) PDU {
		m := ok
		f(&m)
		return &SubmitSM{m}
	}
	for name, body := range map[string]PDU{
		"nul in address":   edit(func(m *Message) { m.Dest.Text = "155\x001" }),
		"long address":     edit(func(m *Message) { m.Dest.Text = strings.Repeat("1", 21) }),
		"short schedule":   edit(func(m *Message) { m.Schedule = "2601" }),
		"long text":        edit(func(m *Message) { m.ShortMessage = make([]byte, 255) }),
		"65 tlvs":          edit(func(m *Message) { m.TLVs = make(TLVs, 65) }),
		"tlv of 64 KiB":    edit(func(m *Message) { m.TLVs.Add(TagMessagePayload, make([]byte, 65536)) }),
		"frame too large":  edit(func(m *Message) { m.TLVs.Add(TagMessagePayload, make([]byte, 65535)) }),
		"sar length":       edit(func(m *Message) { m.TLVs.Add(TagSarMsgRefNum, []byte{1}) }),
		"no destinations":  &SubmitMulti{},
		"255 destinations": &SubmitMulti{Dests: make([]Destination, 255)},
		"no mode":          &Bind{SystemID: "x"},
		"long system_id":   &Bind{Mode: ModeReceiver, SystemID: strings.Repeat("x", 16)},
	} {
		prefix := []byte("before")
		got, err := Append(prefix, StatusOK, 1, body)
		var field *FieldError
		if !errors.As(err, &field) || field.Field == "" {
			t.Errorf("%s: error %v", name, err)
		}
		if !bytes.Equal(got, prefix) {
			t.Errorf("%s: left %x behind", name, got)
		}
	}
	m := ok
	m.TLVs.Add(TagMessagePayload, make([]byte, 65000))
	if _, err := Append(nil, StatusOK, 1, &SubmitSM{m}); err != nil {
		t.Errorf("payload of 65000: %v", err)
	}
}

// Refusals carry the body that gosmpp's clients need.
func TestRefusalsParseInGosmpp(t *testing.T) {
	for _, body := range samplePDUs() {
		id := body.CommandID()
		if !isResponse(id) || id == IDGenericNack {
			continue
		}
		b, err := Append(nil, StatusSystemError, 4, body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pdu.Parse(bytes.NewReader(b)); err != nil {
			t.Errorf("%T: gosmpp: %v", body, err)
		}
	}
}

func samplePDUs() []PDU {
	m := Message{
		ServiceType: "CMT", Source: Address{5, 0, "ACME"}, Dest: Address{1, 1, "15551230002"}, ESMClass: 0x40, ProtocolID: 1,
		Priority: 2, Schedule: "260102150405020-", Validity: "000001120000000R", RegisteredDelivery: 1, ReplaceIfPresent: 1,
		DataCoding: 8, DefaultMsgID: 1, ShortMessage: []byte{5, 0, 3, 1, 2, 1, 0, 'A'},
		TLVs: TLVs{{Tag: TagUserMessageReference, Data: []byte{1, 2}}, {Tag: 0x1400, Data: []byte("x\x00")}},
	}
	multi := m
	multi.Dest = Address{}
	src := Address{1, 1, "15551230001"}
	return []PDU{
		&Bind{Mode: ModeReceiver, SystemID: "acme", Password: "s3cret", SystemType: "VMA", InterfaceVersion: 0x34, AddressTON: 1, AddressNPI: 1, AddressRange: "1555"},
		&BindResp{Mode: ModeTransmitter, SystemID: "gw", TLVs: TLVs{{Tag: TagSCInterfaceVersion, Data: []byte{0x34}}}},
		&BindResp{Mode: ModeTransceiver, SystemID: "gw"}, &BindResp{Mode: ModeReceiver, SystemID: "gw"},
		&Outbind{SystemID: "gw", Password: "x"},
		&Unbind{}, &UnbindResp{}, &EnquireLink{}, &EnquireLinkResp{}, &GenericNack{},
		&SubmitSM{m}, &SubmitSMResp{MessageID: "0190AF3C"}, &DeliverSM{m}, &DeliverSMResp{},
		&DataSM{ServiceType: "CMT", Source: src, Dest: src, ESMClass: 4, RegisteredDelivery: 1, DataCoding: 3, TLVs: TLVs{{Tag: TagMessagePayload, Data: []byte("hello")}}},
		&DataSMResp{MessageID: "1"},
		&SubmitMulti{Message: multi, Dests: []Destination{{Address: src}, {List: "friends"}}},
		&SubmitMultiResp{MessageID: "7", Unsuccess: []Unsuccess{{src, StatusInvDest}}},
		&QuerySM{MessageID: "7", Source: src}, &QuerySMResp{MessageID: "7", FinalDate: "260102150405000+", State: 2, ErrorCode: 1},
		&CancelSM{MessageID: "7", Source: src, Dest: src}, &CancelSMResp{},
		&ReplaceSM{MessageID: "7", Source: src, Validity: "000001120000000R", RegisteredDelivery: 1, DefaultMsgID: 1, ShortMessage: []byte("new")}, &ReplaceSMResp{},
		&AlertNotification{Source: src, ESME: src, TLVs: TLVs{{Tag: TagMsAvailabilityStatus, Data: []byte{1}}}},
	}
}

func TestSamplesRoundTrip(t *testing.T) {
	seen := map[CommandID]bool{}
	for _, body := range samplePDUs() {
		seen[body.CommandID()] = true
		b, err := Append(nil, StatusOK, 9, body)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decode(b)
		if err != nil || !reflect.DeepEqual(p.Body, body) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", body, err, p.Body, body)
		}
		if _, err := pdu.Parse(bytes.NewReader(b)); err != nil {
			t.Errorf("%T: gosmpp: %v", body, err)
		}
	}
	if len(seen) < 24 {
		t.Errorf("only %d commands sampled", len(seen))
	}
}

func drawString(t *rapid.T, label string, max int) string {
	return rapid.StringOfN(rapid.RuneFrom(nil, rangeASCII), 0, max, max).Draw(t, label)
}

func drawAddress(t *rapid.T, label string, max int) Address {
	return Address{rapid.Byte().Draw(t, label), rapid.Byte().Draw(t, label), drawString(t, label, max)}
}

func drawTime(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"", "260102150405020-", "000001120000000R"}).Draw(t, label)
}

func drawTLVs(t *rapid.T) TLVs {
	var out TLVs
	for range rapid.IntRange(0, 6).Draw(t, "tlvs") {
		out = append(out, TLV{Tag: Tag(rapid.Uint16Range(0x1400, 0x3FFF).Draw(t, "tag")), Data: rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "value")})
	}
	return out
}

func drawMessage(t *rapid.T) Message {
	m := Message{
		ServiceType: drawString(t, "service", 5), Source: drawAddress(t, "src", 20), Dest: drawAddress(t, "dst", 20),
		Schedule: drawTime(t, "sched"), Validity: drawTime(t, "valid"), TLVs: drawTLVs(t),
	}
	for _, b := range []*byte{&m.ESMClass, &m.ProtocolID, &m.Priority, &m.RegisteredDelivery, &m.ReplaceIfPresent, &m.DataCoding, &m.DefaultMsgID} {
		*b = rapid.Byte().Draw(t, "octet")
	}
	if text := rapid.SliceOfN(rapid.Byte(), 0, 254).Draw(t, "text"); len(text) > 0 {
		m.ShortMessage = text
	}
	return m
}

func drawPDU(t *rapid.T) PDU {
	switch rapid.IntRange(0, 9).Draw(t, "pdu") {
	case 0:
		return &SubmitSM{drawMessage(t)}
	case 1:
		return &DeliverSM{drawMessage(t)}
	case 2:
		p := &SubmitMulti{Message: drawMessage(t)}
		p.Dest = Address{}
		for range rapid.IntRange(1, 254).Draw(t, "dests") {
			p.Dests = append(p.Dests, Destination{Address: drawAddress(t, "dest", 20)})
		}
		return p
	case 3:
		return &DataSM{ServiceType: drawString(t, "service", 5), Source: drawAddress(t, "src", 64), Dest: drawAddress(t, "dst", 64), TLVs: drawTLVs(t)}
	case 4:
		return &Bind{Mode: Mode(rapid.ByteRange(1, 3).Draw(t, "mode")), SystemID: drawString(t, "id", 15), Password: drawString(t, "pw", 64),
			SystemType: drawString(t, "type", 12), InterfaceVersion: rapid.Byte().Draw(t, "v"), AddressRange: drawString(t, "range", 40)}
	case 5:
		return &QuerySM{MessageID: drawString(t, "id", 64), Source: drawAddress(t, "src", 20)}
	case 6:
		return &CancelSM{ServiceType: drawString(t, "service", 5), MessageID: drawString(t, "id", 64), Source: drawAddress(t, "src", 20), Dest: drawAddress(t, "dst", 20)}
	case 7:
		p := &ReplaceSM{MessageID: drawString(t, "id", 64), Source: drawAddress(t, "src", 20), Schedule: drawTime(t, "sched")}
		p.ShortMessage = rapid.SliceOfN(rapid.Byte(), 1, 254).Draw(t, "text")
		return p
	case 8:
		return &SubmitSMResp{MessageID: drawString(t, "id", 64), TLVs: drawTLVs(t)}
	default:
		p := &SubmitMultiResp{MessageID: drawString(t, "id", 64), TLVs: drawTLVs(t)}
		for range rapid.IntRange(0, 5).Draw(t, "bad") {
			p.Unsuccess = append(p.Unsuccess, Unsuccess{drawAddress(t, "sme", 20), Status(rapid.Uint32().Draw(t, "st"))})
		}
		return p
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := drawPDU(t)
		seq := rapid.Uint32Range(0, maxSequence).Draw(t, "seq")
		b, err := Append(nil, StatusOK, seq, body)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if p.Sequence != seq || !reflect.DeepEqual(p.Body, body) {
			t.Fatalf("got  %+v\nwant %+v", p.Body, body)
		}
	})
}

func TestStatusNames(t *testing.T) {
	names := strings.Fields("00 ROK 01 RINVMSGLEN 02 RINVCMDLEN 03 RINVCMDID 04 RINVBNDSTS 05 RALYBND 06 RINVPRTFLG 07 RINVREGDLVFLG " +
		"08 RSYSERR 0A RINVSRCADR 0B RINVDSTADR 0C RINVMSGID 0D RBINDFAIL 0E RINVPASWD 0F RINVSYSID 11 RCANCELFAIL 13 RREPLACEFAIL " +
		"14 RMSGQFUL 15 RINVSERTYP 33 RINVNUMDESTS 40 RINVDESTFLAG 42 RINVSUBREP 43 RINVESMCLASS 44 RCNTSUBDL 45 RSUBMITFAIL " +
		"48 RINVSRCTON 49 RINVSRCNPI 50 RINVDSTTON 51 RINVDSTNPI 53 RINVSYSTYP 54 RINVREPFLAG 58 RTHROTTLED 61 RINVSCHED " +
		"62 RINVEXPIRY 63 RINVDFTMSGID 64 RX_T_APPN 65 RX_P_APPN 66 RX_R_APPN 67 RQUERYFAIL C0 RINVOPTPARSTREAM C1 ROPTPARNOTALLWD " +
		"C2 RINVPARLEN C3 RMISSINGOPTPARAM C4 RINVOPTPARAMVAL FE RDELIVERYFAILURE FF RUNKNOWNERR 100 RSERTYPUNAUTH 101 RPROHIBITED " +
		"104 RINVDCS 400 0x00000400 12C 0x0000012C 80000001 0x80000001")
	for i := 0; i < len(names); i += 2 {
		n, err := strconv.ParseUint(names[i], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := Status(n).String(); got != names[i+1] {
			t.Errorf("%s: %q, want %q", names[i], got, names[i+1])
		}
		if got := Status(n).Code(); got != "0x"+names[i] {
			t.Errorf("%s: code %s", names[i], got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.hex))
	}
	for _, body := range samplePDUs() {
		b, _ := Append(nil, StatusOK, 1, body)
		f.Add(b)
	}
	// The inputs that gosmpp's parser stumbles over.
	for _, s := range []string{
		"00000000", "0000000f", "00010001", "7fffffff", "ffffffff",
		"00000018 00000003 00000000 00000001 00 00 00 00 00000000",
		"00000010 80000009 0000000e 00000001",
		"00000014 00000015 00000000 00000001 00000000",
	} {
		f.Add(unhex(f, s))
	}
	f.Add(frame(IDSubmitSM, 0, 1, bytes.Repeat([]byte{0}, 60000)))
	f.Add(frame(IDSubmitSM, 0, 1, append(make([]byte, 16), bytes.Repeat([]byte{0x14, 0, 0, 0}, 16000)...)))
	f.Add(frame(IDBindTransceiver, 0, 1, bytes.Repeat([]byte{'a'}, 60000)))
	for _, b := range hostile(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		var err error
		fuzztest.Within(t, len(b)+16<<10, func() { p, err = Decode(b) })
		var bad *DecodeError
		if err != nil && (!errors.As(err, &bad) || bad.Status == StatusOK) {
			t.Fatalf("error %v", err)
		}
		if err != nil || p.Body == nil {
			return
		}
		// What was read can be written, and reads as the same.
		out, err := Append(nil, p.Status, p.Sequence, p.Body)
		if err != nil {
			return // times and lengths of peers are taken more freely than ours
		}
		q, err := Decode(out)
		if err != nil {
			t.Fatalf("re-read: %v", err)
		}
		// Broken optional parameters of responses are read as far as they go.
		if !isResponse(p.ID) && !reflect.DeepEqual(p.Body, q.Body) {
			t.Fatalf("got %+v\nwas %+v", q.Body, p.Body)
		}
	})
}

// A PDU costs a small multiple of its size, whatever is in it.
func TestDecodeAllocation(t *testing.T) {
	for name, b := range map[string][]byte{
		"tlvs":         frame(IDSubmitSM, 0, 1, append(make([]byte, 16), bytes.Repeat([]byte{0x14, 0, 0, 0}, 16000)...)),
		"string":       frame(IDBindTransceiver, 0, 1, bytes.Repeat([]byte{'a'}, 60000)),
		"unterminated": frame(IDSubmitMultiResp, 0, 1, bytes.Repeat([]byte{'1', 0}, 30000)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const runs = 20
		for range runs {
			_, _ = Decode(b)
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > uint64(len(b))+16<<10 {
			t.Errorf("%s: %d octets for a PDU of %d", name, got, len(b))
		}
	}
	b := unhex(t, submitVector)
	if n := testing.AllocsPerRun(100, func() { _, _ = Decode(b) }); n > 2 {
		t.Errorf("submit_sm takes %v allocations", n)
	}
}

func BenchmarkDecodeSubmitSM(b *testing.B) {
	f := unhex(b, submitVector)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSubmitSM(b *testing.B) {
	body := vectors[2].body
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Append(buf[:0], 0, 1, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSubmitSMResp(b *testing.B) {
	body := &SubmitSMResp{MessageID: "01a1ffbf86767d359c440f6f2f1b7e21"}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Append(buf[:0], 0, 1, body); err != nil {
			b.Fatal(err)
		}
	}
}
