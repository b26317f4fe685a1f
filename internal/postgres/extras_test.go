package postgres

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// octets is a message as the SMPP edge makes it of what is no text.
func (b *bundle) octets() *message.Message {
	m := b.draft()
	m.Body, m.Encoding, m.DataCoding = "\x00\xff\x1b\xc3", message.EncodingBinary, 0xF5
	m.Header = []byte("\x05\x04\x0b\x84\x23\xf0")
	m.TLVs = []message.TLV{{Tag: 0x1403, Value: []byte("\x00callback 5550117")}, {Tag: 0x020A, Value: []byte{}}, {Tag: 0x3FFF, Value: []byte{1}}}
	return m
}

// What came comes back to the octet, wherever a message is read, and none of it lies
// readable in the table. Messages of one group keep apart.
func TestOctetsRoundTrip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	credential := b.esme(b.owner, "acme")
	release := b.hold("messages") // so that the next ones share a commit
	plain, octets, flash := b.draft(), b.octets(), b.draft()
	flash.DataCoding = 0xF0
	flash.Header = []byte("\x04\x02\x01\x02")
	var done []<-chan acceptResult
	for i, m := range []*message.Message{b.draft(), plain, octets, flash} {
		a := message.Acceptance{Message: m}
		if m == octets { // with an origin: the statement has all its parameters
			a.Origin = &message.SMPPOrigin{CredentialID: credential, AnswerID: message.Hex32(m.ID)}
		}
		done = append(done, b.accepting(b.ctx, a))
		if i == 0 {
			b.blocked()
		}
	}
	b.until("the others wait", func() bool { return b.queued() == 3 })
	release()
	for _, d := range done {
		if r := <-d; r.err != nil {
			t.Fatal(r.err)
		}
	}
	other := b.replica() // nothing is remembered there
	for _, want := range []*message.Message{plain, octets, flash} {
		for name, db := range map[string]*DB{"same": b.DB, "other": other} {
			got, err := db.Message(b.ctx, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			envelope, err := db.Envelope(b.ctx, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []*message.Message{got, envelope} {
				if m.Body != want.Body || m.Encoding != want.Encoding || m.DataCoding != want.DataCoding || !bytes.Equal(m.Header, want.Header) || (m.Header == nil) != (want.Header == nil) ||
					!reflect.DeepEqual(m.TLVs, want.TLVs) {
					t.Errorf("%s process:\n%+v, want\n%+v", name, m, want)
				}
			}
		}
	}
	list, err := b.Messages(b.ctx, b.owner, message.Filter{}, message.ID{}, 10)
	if err != nil || len(list) != 4 {
		t.Fatalf("%d messages, %v", len(list), err)
	}
	for _, m := range list {
		if m.ID == octets.ID && !reflect.DeepEqual(m.TLVs, octets.TLVs) {
			t.Errorf("listed %+v", m)
		}
	}
	for _, word := range []string{octets.Body, string(octets.Header), "5550117"} {
		if n := b.count("select count(*) from messages m where m::text like '%' || encode($1::bytea, 'hex') || '%'", []byte(word)); n != 0 {
			t.Errorf("%x lies in clear", word)
		}
	}
	if n := b.count("select count(*) from messages where data_coding is null and user_data_header is null and tlvs is null"); n != 2 {
		t.Errorf("%d plain rows", n)
	}
}

// A column that was put into another's place, or cut, is an error and no message.
func TestOctetsTampered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, set := range []string{"tlvs = user_data_header", "user_data_header = tlvs", "user_data_header = body", "tlvs = '\\x00'"} {
		m := b.octets()
		b.store(m)
		b.exec("update messages set "+set+" where id = $1", m.ID)
		if _, err := b.Message(b.ctx, m.ID); err == nil || strings.Contains(err.Error(), "5550117") {
			t.Errorf("%s: %v", set, err)
		}
	}
	m := b.octets()
	m.TLVs = nil
	b.store(m)
	for _, cut := range []string{"\x14", "\x14\x03\x00\x02x"} {
		b.exec("update messages set tlvs = $2 where id = $1", m.ID, b.sealer.Seal([]byte(cut), tlvsPlace(m.ID)))
		if _, err := b.Message(b.ctx, m.ID); err == nil {
			t.Errorf("%x is read", cut)
		}
	}
}

// The schema and the code agree on what may be passed on.
func TestPassableTLVs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rows, err := b.pool.Query(b.ctx, "select n from generate_series(-1, 65536) n where tlvs_may_pass(array[n])")
	if err != nil {
		t.Fatal(err)
	}
	may := map[int]bool{}
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		may[n] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for n := -1; n <= 65536; n++ {
		want := n >= 0 && n <= 65535 && smpp.Passable(smpp.Tag(n))
		if may[n] != want {
			t.Errorf("%04X: the schema says %v", n, may[n])
		}
	}
	for tags, want := range map[string]bool{"{}": true, "{5123,522}": true, "{5123,1060}": false, "{null}": false, "{10753}": false, "{65536}": false} {
		vendor := message.NewID()
		err := b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: vendor, Name: "v"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.pool.Exec(b.ctx, "update vendors set pass_tlvs = $2::text::integer[] where id = $1", vendor, tags); (err == nil) != want {
			t.Errorf("%s: %v", tags, err)
		}
		b.exec("delete from vendors where id = $1", vendor)
	}
	if err := b.CreateVendor(b.ctx, actor, snapshot.Vendor{ID: message.NewID(), Name: "own", PassTLVs: []uint16{0x2A01}}); err == nil {
		t.Error("our own parameter may be passed on")
	}
	for _, a := range []snapshot.Account{{EncodingMismatchStatus: 0x0B}, {OptedOutStatus: 0x104}} {
		a.ID, a.CompanyName = message.NewID(), "A"
		if err := b.CreateAccount(b.ctx, actor, a); err == nil {
			t.Errorf("created with %+v", a)
		}
	}
}
