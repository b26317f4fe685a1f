package prepare

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
)

// Inbound names a message of a handset.
type Inbound struct {
	MessageID message.ID `json:"message_id"`
}

// FetchInbound stores the files of an MMS that came in. A file whose host has trouble is
// asked for again, so often; the message goes to its owner without one that cannot be
// had, and its timeline says so. A run that finds all of them stored does nothing.
func (a *Activities) FetchInbound(ctx context.Context, in Inbound) error {
	m, err := a.Journal.Received(ctx, in.MessageID)
	if err != nil || m.Redacted {
		return activities.Fail(err)
	}
	there, err := a.Journal.MessageMedia(ctx, m.ID, "")
	if err != nil {
		return activities.Fail(err)
	}
	has := make(map[int]bool, len(there))
	for _, f := range there {
		has[f.Position] = true
	}
	var again error
	var missing, other []map[string]any
	for i, f := range m.Media {
		if has[i+1] {
			continue
		}
		announced, err := a.receive(ctx, m, i+1, f)
		var never *impossible
		switch {
		case errors.As(err, &never):
			missing = append(missing, map[string]any{"file": i + 1, "why": never.why.Detail})
		case err != nil: // the others may end sooner than this one is mended
			again = err
		case !announced:
			other = append(other, map[string]any{"file": i + 1, "why": "its size or SHA-256 is not what the vendor has announced"})
		}
	}
	line := message.Event{Type: message.EventMediaPrepared, Detail: map[string]any{}}
	if len(missing) > 0 && again == nil { // while another is tried again so are these
		line.Detail["missing"] = missing
	}
	if len(other) > 0 {
		line.Detail["other"] = other
	}
	if len(line.Detail) > 0 {
		if err := a.Journal.Note(ctx, m.ID, line); err != nil {
			return activities.Fail(err)
		}
	}
	return activities.Fail(again)
}

// receive fetches one file with what its vendor wants, and nowhere but from it. What is
// not what the vendor has announced is asked for again; if it stays so, the owner gets it all
// the same, and announced is false.
func (a *Activities) receive(ctx context.Context, m message.Received, position int, f message.InboundMedia) (announced bool, err error) {
	beat(ctx, fmt.Sprintf("fetching file %d", position))
	if own, ok, err := a.own(ctx, m, f.URL); ok || err != nil {
		if err != nil {
			return false, err
		}
		return true, a.Journal.MediaReceived(ctx, m.ID, position, own)
	}
	hosts, credentials := a.Access(m.VendorID)
	if len(hosts) == 0 {
		return false, &impossible{message.Refuse(message.ReasonMediaUnavailable, "file %d: the vendor is not known any more, or has no files", position)}
	}
	got, err := a.Fetcher.Fetch(ctx, fetch.Request{URL: f.URL, Limit: MaxFile, Hosts: hosts, Credentials: credentials})
	if err != nil {
		return false, unfetched(ctx, position, err)
	}
	defer got.Body.Close()
	up, err := a.Library.Receive(ctx, got.Body, MaxFile)
	if err != nil {
		return false, unfetched(ctx, position, err)
	}
	defer up.Close()
	if announced = asAnnounced(up.Object(), f); !announced && attempt(ctx) < maxFetches {
		return false, message.Refuse(message.ReasonUnavailable, "file %d: its size or SHA-256 is not what the vendor has announced", position)
	}
	file, err := up.Add(ctx, m.AccountID)
	if err != nil {
		return false, err
	}
	return announced, a.Journal.MediaReceived(ctx, m.ID, position, file)
}

// asAnnounced reports whether a file is what the vendor's signed message says of it, as far
// as that says anything.
func asAnnounced(o media.Object, f message.InboundMedia) bool {
	if len(f.SHA256) == hex.EncodedLen(len(o.SHA256)) && !strings.EqualFold(f.SHA256, o.Hex()) {
		return false
	}
	return f.Size <= 0 || f.Size == o.Size
}

// own finds the file of a message between accounts of ours, which is in the store already.
func (a *Activities) own(ctx context.Context, m message.Received, url string) (message.MediaFile, bool, error) {
	token, ok := a.Own(m.VendorID, url)
	if !ok {
		return message.MediaFile{}, false, nil
	}
	f, err := a.Library.ByToken(ctx, token)
	if message.ReasonOf(err) == message.ReasonNotFound {
		return f, true, &impossible{message.Because(message.ReasonMediaUnavailable, err, "the file is gone")}
	}
	return message.MediaFile{AccountID: m.AccountID, SHA256: f.SHA256, ContentType: f.ContentType, Size: f.Size}, true, err
}
