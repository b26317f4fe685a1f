package prepare

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"go.temporal.io/sdk/testsuite"

	"github.com/postrider/postrider/internal/message"
)

// came is a message of a handset with files at the vendor.
func (b *bundle) came(paths ...string) {
	b.in = message.Received{Message: &message.Message{ID: b.m.ID, AccountID: b.m.AccountID, VendorID: message.NewID(), Kind: message.MMS, Direction: message.Inbound}}
	for _, p := range paths {
		b.in.Media = append(b.in.Media, message.InboundMedia{URL: b.hosted + p, ContentType: "image/png"})
	}
}

func (b *bundle) fetchInbound() error {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(b.Activities)
	_, err := env.ExecuteActivity(b.Activities.FetchInbound, Inbound{MessageID: b.in.ID})
	return err
}

func TestFetchInbound(t *testing.T) {
	b := setup(t)
	one, two := picture(t, 0), picture(t, 50_000)
	b.came("/one.png", "/two.png")
	b.served["/one.png"], b.served["/two.png"] = octets(one), octets(two)
	for range 2 { // the second run finds it done
		if err := b.fetchInbound(); err != nil {
			t.Fatal(err)
		}
	}
	files := b.files[""]
	if len(files) != 2 || !bytes.Equal(b.read(files[0].File), one) || !bytes.Equal(b.read(files[1].File), two) || files[0].File.AccountID != b.m.AccountID {
		t.Fatalf("it has %+v", files)
	}
	if b.asked["/one.png"] != 1 || len(b.lines) > 0 {
		t.Errorf("asked %v, noted %+v", b.asked, b.lines)
	}
}

// One file that cannot be had keeps back no other, and is told of.
func TestInboundWithoutAFile(t *testing.T) {
	b := setup(t)
	b.came("/gone.png", "/two.png")
	b.served["/two.png"] = octets(picture(t, 0))
	if err := b.fetchInbound(); err != nil {
		t.Fatal(err)
	}
	if len(b.files[""]) != 1 || b.files[""][0].Position != 2 || len(b.lines) != 1 {
		t.Errorf("it has %+v, noted %+v", b.files[""], b.lines)
	}
}

// A host in trouble, and a journal that is away, are waited for; what has come stays.
func TestInboundLater(t *testing.T) {
	b := setup(t)
	b.came("/one.png", "/two.png")
	b.served["/one.png"] = func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	b.served["/two.png"] = octets(picture(t, 0))
	if err := b.fetchInbound(); err == nil || len(b.files[""]) != 1 {
		t.Fatalf("%v, it has %+v", err, b.files[""])
	}
	b.served["/one.png"] = octets(picture(t, 9))
	b.fails["received"] = errors.New("the database is away")
	if err := b.fetchInbound(); err == nil {
		t.Fatal("no error")
	}
	if err := b.fetchInbound(); err != nil || len(b.files[""]) != 2 || b.asked["/two.png"] != 1 {
		t.Errorf("%v, it has %+v, asked %v", err, b.files[""], b.asked)
	}
}

// A message may name any URL; only its vendor is asked.
func TestInboundFromElsewhere(t *testing.T) {
	for name, hosts := range map[string][]string{"another host": {"api.vendor.example"}, "a vendor that is gone": nil} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.came("/one.png")
			b.served["/one.png"] = octets(picture(t, 0))
			b.hosts = hosts
			if err := b.fetchInbound(); err != nil || len(b.files[""]) != 0 || b.asked["/one.png"] != 0 || len(b.lines) != 1 {
				t.Errorf("%v, it has %+v, asked %v, noted %+v", err, b.files[""], b.asked, b.lines)
			}
		})
	}
}

// What an account of ours has sent to another one is in the store.
func TestInboundOfOurs(t *testing.T) {
	b := setup(t)
	b.given(picture(t, 0))
	sent := b.files[""][0].File
	b.files[""], b.own = nil, sent.Token
	b.came("/media/x.png")
	if err := b.fetchInbound(); err != nil || len(b.asked) != 0 {
		t.Fatal(err, b.asked)
	}
	if got := b.files[""][0].File; got.SHA256 != sent.SHA256 || got.ID == sent.ID {
		t.Errorf("it has %+v", got)
	}
	b.files[""], b.own = nil, message.NewMediaToken()
	if err := b.fetchInbound(); err != nil || len(b.files[""]) != 0 || len(b.lines) != 1 {
		t.Errorf("of a file that is gone: %v, it has %+v, noted %+v", err, b.files[""], b.lines)
	}
}
