package postgres

import (
	"crypto/sha256"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// mms is a message with the files of an upload and of a URL, accepted.
func (b *bundle) mms(uploaded ...message.MediaFile) *message.Message {
	b.tb.Helper()
	m := b.draft()
	m.Kind, m.Subject, m.MediaAsIs = message.MMS, "Holiday", true
	for _, f := range uploaded {
		own := f
		own.ID, own.Token, own.ExpiresAt = message.NewID(), message.NewMediaToken(), time.Time{}
		m.Media = append(m.Media, message.Media{Position: len(m.Media) + 1, File: own})
	}
	m.Media = append(m.Media, message.Media{Position: len(m.Media) + 1, Source: "https://files.example/secret.png"})
	b.store(m)
	return m
}

// have is what a message has, without the moments at which it got it.
func (b *bundle) have(m *message.Message, profile string) []message.Media {
	b.tb.Helper()
	list, err := b.MessageMedia(b.ctx, m.ID, profile)
	if err != nil {
		b.tb.Fatal(err)
	}
	for i := range list {
		list[i].File.CreatedAt = time.Time{}
	}
	return list
}

// fetched stores a file that was fetched for a message, and gives it to that.
func (b *bundle) fetched(m *message.Message, position int, octets string) (message.MediaFile, bool) {
	b.tb.Helper()
	f := b.file(octets)
	if err := b.AddMedia(b.ctx, &f); err != nil {
		b.tb.Fatal(err)
	}
	given, err := b.MediaFetched(b.ctx, m.ID, position, f.ID)
	if err != nil {
		b.tb.Fatal(err)
	}
	f.CreatedAt, f.ExpiresAt = time.Time{}, time.Time{}
	return f, given
}

func TestMessageWithFiles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	up := b.kept("a picture")
	m := b.mms(up)
	got, err := b.AccountMessage(b.ctx, m.AccountID, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "Holiday" || !got.MediaAsIs || got.Kind != message.MMS || len(got.Media) != 2 {
		t.Fatalf("%+v", got)
	}
	want := []message.Media{m.Media[0], {Position: 2, Source: "https://files.example/secret.png"}}
	want[0].File.CreatedAt = time.Time{}
	if have := b.have(m, ""); !reflect.DeepEqual(have, want) {
		t.Errorf("it has %+v, want %+v", have, want)
	}
	// Its files are read by their own tokens, and are nobody else's to remove.
	if f, err := b.MediaByToken(b.ctx, m.Media[0].File.Token); err != nil || f.SHA256 != up.SHA256 || !f.ExpiresAt.IsZero() {
		t.Errorf("%+v, %v", f, err)
	}
	if err := b.RemoveMedia(b.ctx, b.owner, m.Media[0].File.ID); message.ReasonOf(err) != message.ReasonConflict {
		t.Errorf("a message's file was removed: %v", err)
	}
	// The upload goes, and the octets stay with the message.
	if err := b.RemoveMedia(b.ctx, b.owner, up.ID); err != nil {
		t.Fatal(err)
	}
	if gone, err := b.drained(nil); err != nil || len(gone) > 0 {
		t.Errorf("taken away: %x, %v", gone, err)
	}

	f, given := b.fetched(m, 2, "another picture")
	if !given {
		t.Fatal("the message did not get its file")
	}
	if _, given := b.fetched(m, 2, "a third one"); given {
		t.Error("it got another one in its place")
	}
	if have := b.have(m, ""); have[1].File != f {
		t.Errorf("it has %+v, want %+v", have[1], f)
	}
	if found, err := b.Violations(b.ctx, 0); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestFilesMadeForAProfile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.mms(b.kept("a picture"))
	b.fetched(m, 2, "a film")
	small := b.file("a small film")
	if err := b.AddMedia(b.ctx, &small); err != nil {
		t.Fatal(err)
	}
	line := message.Event{Type: message.EventMediaPrepared, Detail: map[string]any{"profile": "acme"}}
	shared := message.MediaFile{AccountID: b.owner, SHA256: m.Media[0].File.SHA256}
	made := []message.Media{{Position: 1, File: shared}, {Position: 2, File: small}}
	for range 2 { // the second one changes nothing
		if err := b.MediaPrepared(b.ctx, m.ID, "acme", made, line); err != nil {
			t.Fatal(err)
		}
	}
	have := b.have(m, "acme")
	if len(have) != 2 || have[0].File.SHA256 != shared.SHA256 || have[0].File.Token == m.Media[0].File.Token || have[1].File.ID != small.ID {
		t.Errorf("made: %+v", have)
	}
	events, err := b.Events(b.ctx, m.ID, 0, 10)
	if err != nil || len(events) != 2 || events[1].Type != message.EventMediaPrepared || events[1].Sequence != 2 {
		t.Errorf("the timeline says %+v, %v", events, err)
	}

	// What is gone cannot be shared, and nothing of the rest is kept.
	gone := message.MediaFile{AccountID: b.owner, SHA256: sha256.Sum256([]byte("never stored"))}
	err = b.MediaPrepared(b.ctx, m.ID, "zeta", []message.Media{{Position: 1, File: shared}, {Position: 2, File: gone}}, line)
	if !isNotFound(err) {
		t.Errorf("what nobody has: %v", err)
	}
	if have := b.have(m, "zeta"); len(have) > 0 {
		t.Errorf("half of it is kept: %+v", have)
	}
	if err := b.MediaPrepared(b.ctx, message.NewID(), "acme", made, line); !isNotFound(err) {
		t.Errorf("of no message: %v", err)
	}
}

// An upload that expires while it is named leaves no message without its octets.
func TestMessageWithExpiredFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	up := b.kept("a picture")
	if err := b.RemoveMedia(b.ctx, b.owner, up.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.drained(nil); err != nil {
		t.Fatal(err)
	}
	m := b.draft()
	m.Kind = message.MMS
	up.ID, up.Token = message.NewID(), message.NewMediaToken()
	m.Media = []message.Media{{Position: 1, File: up}}
	if _, err := b.Accept(b.ctx, message.Acceptance{Message: m}); message.ReasonOf(err) != message.ReasonInvalidRequest {
		t.Errorf("accepted: %v", err)
	}
	if _, err := b.Message(b.ctx, m.ID); !isNotFound(err) {
		t.Errorf("the message is there: %v", err)
	}
}

func TestMediaResult(t *testing.T) {
	t.Parallel()
	b := setup(t)
	small := b.kept("a small picture")
	if _, known, err := b.MediaResult(b.ctx, "key"); known || err != nil {
		t.Fatal(known, err)
	}
	for range 2 {
		if err := b.KeepMediaResult(b.ctx, "key", small.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	if f, known, err := b.MediaResult(b.ctx, "key"); err != nil || !known || f.SHA256 != small.SHA256 || f.Size != small.Size || f.ContentType != small.ContentType {
		t.Errorf("%+v, %t, %v", f, known, err)
	}
	if err := b.RemoveMedia(b.ctx, b.owner, small.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.drained(nil); err != nil {
		t.Fatal(err)
	}
	if _, known, err := b.MediaResult(b.ctx, "key"); known || err != nil {
		t.Errorf("it outlives its octets: %t, %v", known, err)
	}
	if err := b.KeepMediaResult(b.ctx, "late", small.SHA256); err != nil {
		t.Errorf("of octets that are gone: %v", err)
	}
}

// Whoever took octets away may have died before that was on record: nobody shares them
// then, and they are made anew.
func TestOctetsWithoutAFileAreNotShared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.mms(b.kept("a picture"))
	small := b.kept("a small picture")
	if err := b.KeepMediaResult(b.ctx, "key", small.SHA256); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveMedia(b.ctx, b.owner, small.ID); err != nil {
		t.Fatal(err)
	}
	died := errors.New("the process has died")
	if _, err := b.drained(died); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if _, known, err := b.MediaResult(b.ctx, "key"); known || err != nil {
		t.Errorf("the result is known: %t, %v", known, err)
	}
	shared := message.Media{Position: 1, File: message.MediaFile{AccountID: m.AccountID, SHA256: small.SHA256}}
	if err := b.MediaPrepared(b.ctx, m.ID, "att#1", []message.Media{shared}, message.Event{Type: message.EventMediaPrepared}); !isNotFound(err) {
		t.Errorf("the message has them: %v", err)
	}
	if list, err := b.MessageMedia(b.ctx, m.ID, "att#1"); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	b.kept("a small picture")
	if _, known, err := b.MediaResult(b.ctx, "key"); !known || err != nil {
		t.Errorf("made anew: %t, %v", known, err)
	}
}

// The files of a message go with its text, the octets with them, and an upload of the
// same stays.
func TestFilesGoWithTheText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	up := b.kept("a picture")
	m := b.mms(up)
	b.fetched(m, 2, "a film")
	if err := b.MediaPrepared(b.ctx, m.ID, "acme", []message.Media{{Position: 1, File: message.MediaFile{AccountID: b.owner, SHA256: up.SHA256}}}, message.Event{Type: message.EventMediaPrepared}); err != nil {
		t.Fatal(err)
	}
	b.exec("update messages set status = 'delivered' where id = $1", m.ID)
	tx, err := b.pool.Begin(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if purged, err := purge(b.ctx, tx, []message.ID{m.ID}); err != nil || len(purged) != 1 {
		t.Fatal(purged, err)
	}
	if err := tx.Commit(b.ctx); err != nil {
		t.Fatal(err)
	}
	if n := b.count("select count(*) from message_media") + b.count("select count(*) from media_files where expires_at is null"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if got, err := b.Message(b.ctx, m.ID); err != nil || got.Subject != "" || !got.Redacted {
		t.Errorf("%+v, %v", got, err)
	}
	if gone, err := b.drained(nil); err != nil || len(gone) != 1 || gone[0] != sha256.Sum256([]byte("a film")) {
		t.Errorf("taken away: %x, %v", gone, err)
	}
	if _, err := b.Media(b.ctx, b.owner, up.ID); err != nil {
		t.Errorf("the upload: %v", err)
	}
}

// Messages with files share commits with all others, whatever is among them.
func TestFilesInAGroup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	up, credential := b.kept("a picture"), b.esme(b.owner, "one")
	makes := []func() message.Acceptance{
		func() message.Acceptance {
			m := b.draft()
			m.Kind = message.MMS
			own := up
			own.ID, own.Token = message.NewID(), message.NewMediaToken()
			m.Media = []message.Media{{Position: 1, Source: "https://files.example/a.png"}, {Position: 2, File: own}}
			return message.Acceptance{Message: m}
		},
		func() message.Acceptance { return message.Acceptance{Message: b.draft()} },
		func() message.Acceptance { return b.submitted(credential, 1) },
		func() message.Acceptance {
			a := b.submitted(credential, 1)
			a.Owed, a.Message.Status, a.Message.Error = true, message.StatusRejected, message.Refuse(message.ReasonNoRoute, "no")
			return a
		},
	}
	for which := 1; which < 1<<len(makes); which++ {
		var group []*acceptance
		for i, of := range makes {
			if which&(1<<i) != 0 {
				group = append(group, b.sealed(of()), b.sealed(of()))
			}
		}
		kept, err := b.accept.insert(group)
		if err != nil || len(kept) != len(group) {
			t.Fatalf("of %b: %v, %v", which, kept, err)
		}
		for _, i := range group {
			if have := b.have(i.Message, ""); len(have) != len(i.Message.Media) {
				t.Errorf("of %b: %+v, want %+v", which, have, i.Message.Media)
			}
			owed := b.count("select count(*) from smpp_origins where message_id = $1", i.Message.ID)
			told := b.count("select count(*) from smpp_deliveries where message_id = $1", i.Message.ID)
			if (owed == 1) != (i.Origin != nil) || (told == 1) != i.Owed {
				t.Errorf("of %b: %d origins and %d receipts of %+v", which, owed, told, i.Acceptance)
			}
		}
	}
}
