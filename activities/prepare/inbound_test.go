package prepare

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

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

// fetchInboundAgain has it tried as often as a workflow does.
func (b *bundle) fetchInboundAgain() error {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivity(b.Activities)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 2 * maxFetches}})
		return workflow.ExecuteActivity(ctx, b.Activities.FetchInbound, Inbound{MessageID: b.in.ID}).Get(ctx, nil)
	})
	return env.GetWorkflowError()
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

// What a vendor's message says of a file is checked: another one is asked for again, and
// told of if it stays so.
func TestInboundIsAnnounced(t *testing.T) {
	one := picture(t, 0)
	sum := sha256.Sum256(one)
	for name, c := range map[string]struct {
		size int64
		sum  string
		good bool
	}{
		"right": {int64(len(one)), strings.ToUpper(hex.EncodeToString(sum[:])), true}, "nothing said": {0, "", true}, "said unreadably": {0, "ab", true},
		"another size": {int64(len(one)) + 1, "", false}, "another file": {int64(len(one)), strings.Repeat("ab", 32), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			b.came("/one.png")
			b.in.Media[0].Size, b.in.Media[0].SHA256 = c.size, c.sum
			b.served["/one.png"] = octets(one)
			if err := b.fetchInbound(); err == nil != c.good || len(b.files[""]) == 1 != c.good || len(b.lines) > 0 {
				t.Fatalf("%v, it has %+v, noted %+v", err, b.files[""], b.lines)
			}
			if c.good {
				return
			}
			if err := b.fetchInboundAgain(); err != nil || len(b.files[""]) != 1 || len(b.lines) != 1 || b.lines[0].Detail["other"] == nil {
				t.Errorf("the last time: %v, it has %+v, noted %+v", err, b.files[""], b.lines)
			}
		})
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
