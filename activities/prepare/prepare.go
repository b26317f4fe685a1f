// Package prepare gets the files of an MMS ready for a vendor: those that a customer has
// named by their URLs are fetched, and all are made to fit what the vendor takes.
//
// Whatever is made is a file of the message before anybody is told of it, so a run that
// is cut off leaves what the next one goes on from: files that were fetched are not
// fetched again, and what a conversion gave is found again by what it was made of. A run
// that finds the work done does nothing.
package prepare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/postrider/postrider/activities"
	"github.com/postrider/postrider/activities/transcode"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
)

// Journal is what this step needs of the record.
type Journal interface {
	activities.Reader
	// MessageMedia lists the files of a message: as they came, or as they were made for
	// a profile.
	MessageMedia(ctx context.Context, id message.ID, profile string) ([]message.Media, error)
	// MediaFetched gives a message a file that was stored for it; false: it has one.
	MediaFetched(ctx context.Context, id message.ID, position int, file message.ID) (bool, error)
	// MediaPrepared gives a message what was made of its files, once. ReasonNotFound:
	// some of it is not stored any more.
	MediaPrepared(ctx context.Context, id message.ID, profile string, files []message.Media, line message.Event) error
	// MediaResult finds what a conversion gave, and KeepMediaResult remembers it.
	MediaResult(ctx context.Context, key string) (message.MediaFile, bool, error)
	KeepMediaResult(ctx context.Context, key string, sum [32]byte) error
	// Received reads an inbound message.
	Received(ctx context.Context, id message.ID) (message.Received, error)
	// MediaReceived gives it a file, once, and Note its timeline a line.
	MediaReceived(ctx context.Context, id message.ID, position int, f message.MediaFile) error
	Note(ctx context.Context, id message.ID, line message.Event) error
}

// Library keeps the octets. *media.Library is one.
type Library interface {
	Receive(ctx context.Context, r io.Reader, limit int64) (*media.Upload, error)
	Open(ctx context.Context, f message.MediaFile) (io.ReadSeekCloser, error)
	ByToken(ctx context.Context, token message.MediaToken) (message.MediaFile, error)
}

// Fetcher gets a customer's file. *fetch.Fetcher is one.
type Fetcher interface {
	Fetch(ctx context.Context, r fetch.Request) (*fetch.Response, error)
}

// Converter makes a file fit. *transcode.Transcoder is one.
type Converter interface {
	FitOne(ctx context.Context, dir string, n int, part transcode.Part, share int64, p mediaprofile.Profile, progress func(string)) (transcode.Result, error)
}

// Activities prepares files. All fields must be set, but Observe.
type Activities struct {
	Journal   Journal
	Library   Library
	Fetcher   Fetcher
	Converter Converter
	// Profile is what a vendor takes.
	Profile func(vendor message.ID) mediaprofile.Profile
	// Access says where a vendor's files may be fetched, and with what; no hosts: nowhere.
	Access func(vendor message.ID) (hosts []string, c *fetch.Credentials)
	// Own recognises the URL of a file that an account of ours has sent to another one.
	Own func(vendor message.ID, url string) (message.MediaToken, bool)
	// Dir is where files are while they are worked on: each run has a folder of its own
	// in it, named by WorkName, which it removes. Clear removes those of killed processes.
	Dir string
	// Observe is told of each conversion; nil: nobody is.
	Observe func(r transcode.Result)
}

// Input names the message and the vendor that is to have it.
type Input struct {
	MessageID message.ID        `json:"message_id"`
	Vendor    message.VendorRef `json:"vendor"`
	// Smaller: the vendor has refused what was made for it, and gets less.
	Smaller bool `json:"smaller,omitempty"`
}

// Result says what the submit finds in the record, or why there is nothing.
type Result struct {
	// Profile is the name under which the record has the files; empty: as they came.
	Profile string `json:"profile,omitempty"`
	// Reason is why the vendor cannot be given the message; empty: it can.
	Reason message.Reason `json:"reason,omitempty"`
	Detail string         `json:"detail,omitempty"`
}

const (
	// MaxFile is the largest file that is fetched, in octets: as large as an upload.
	MaxFile = 10 << 20
	// maxFetches is how often a file is asked for whose host has trouble: with the
	// pauses of the workflow's options some minutes.
	maxFetches = 6
)

// Prepare fetches what has to be fetched, and makes all files of the message fit the
// vendor's profile. What cannot be made to fit is an answer, not an error: another vendor
// may take it. An error is tried again.
func (a *Activities) Prepare(ctx context.Context, in Input) (Result, error) {
	r, err := a.prepare(ctx, in)
	var final *impossible
	if errors.As(err, &final) {
		return Result{Reason: final.why.Reason, Detail: final.why.Detail}, nil
	}
	var no *message.Error
	if errors.As(err, &no) && !no.Retryable() {
		return Result{Reason: no.Reason, Detail: no.Detail}, nil
	}
	return r, activities.Fail(err)
}

// impossible is an error that no other try mends, whatever its reason says to customers,
// who may well try again.
type impossible struct{ why *message.Error }

func (e *impossible) Error() string { return e.why.Error() }
func (e *impossible) Unwrap() error { return e.why }

func (a *Activities) prepare(ctx context.Context, in Input) (Result, error) {
	m, err := a.Journal.Message(ctx, in.MessageID)
	if err != nil || m.Status.Final() { // of one that has ended the submit says so
		return Result{}, err
	}
	if files, err := a.fetchAll(ctx, m); err != nil || files == 0 {
		return Result{}, err
	}
	profile := a.Profile(in.Vendor.ID)
	if in.Smaller && m.MediaAsIs {
		return Result{}, &impossible{message.Refuse(message.ReasonMediaRejected, "the files go as they are, or not at all")}
	}
	if m.MediaAsIs {
		return Result{}, a.check(ctx, m, profile)
	}
	refused := ""
	if in.Smaller {
		refused, profile = named(profile), profile.Smaller()
	}
	name := named(profile)
	made, err := a.Journal.MessageMedia(ctx, m.ID, name)
	if err != nil || len(made) > 0 {
		return Result{Profile: name}, err
	}
	return Result{Profile: name}, a.fit(ctx, m, in.Vendor, profile, name, refused)
}

// named is the name of a profile as it is now: one that is changed has another.
func named(p mediaprofile.Profile) string {
	b, _ := json.Marshal(p) // plain values only
	sum := sha256.Sum256(b)
	return p.Name + "#" + hex.EncodeToString(sum[:4])
}

// fetchAll stores the files that were given by their URLs, and tells how many the
// message has: none if it is of text alone.
func (a *Activities) fetchAll(ctx context.Context, m *message.Message) (int, error) {
	files, err := a.Journal.MessageMedia(ctx, m.ID, "")
	if err != nil {
		return 0, err
	}
	if len(files) == 0 && m.Redacted {
		return 0, &impossible{message.Refuse(message.ReasonMediaUnavailable, "the files of the message are gone")}
	}
	for _, f := range files {
		if f.Fetched() {
			continue
		}
		if err := a.fetch(ctx, m, f); err != nil {
			return 0, err
		}
	}
	return len(files), nil
}

func (a *Activities) fetch(ctx context.Context, m *message.Message, f message.Media) error {
	beat(ctx, fmt.Sprintf("fetching file %d", f.Position))
	got, err := a.Fetcher.Fetch(ctx, fetch.Request{URL: f.Source, Limit: MaxFile})
	if err != nil {
		return unfetched(ctx, f.Position, err)
	}
	defer got.Body.Close()
	up, err := a.Library.Receive(ctx, got.Body, MaxFile)
	if err != nil {
		return unfetched(ctx, f.Position, err)
	}
	defer up.Close()
	file, err := up.Add(ctx, m.AccountID)
	if err != nil {
		return err
	}
	_, err = a.Journal.MediaFetched(ctx, m.ID, f.Position, file.ID)
	return err
}

// unfetched is why a file did not come. A host in trouble is asked again, so often.
func unfetched(ctx context.Context, position int, err error) error {
	var no *fetch.Error
	var refused *message.Error
	switch {
	case errors.As(err, &no) && no.Retryable() && attempt(ctx) < maxFetches:
		return message.Because(message.ReasonUnavailable, err, "file %d: %s", position, no)
	case errors.As(err, &no) && no.Reason() == message.ReasonMediaUnavailable:
		return &impossible{message.Because(message.ReasonMediaUnavailable, err, "file %d: %s", position, no)}
	case no != nil:
		return &impossible{message.Because(message.ReasonMediaRejected, err, "file %d: %s", position, no)}
	case errors.As(err, &refused) && !refused.Retryable():
		return &impossible{message.Because(message.ReasonMediaRejected, err, "file %d: %s", position, refused.Detail)}
	}
	return err
}

// check judges files that are to be sent as they are.
func (a *Activities) check(ctx context.Context, m *message.Message, p mediaprofile.Profile) error {
	files, err := a.Journal.MessageMedia(ctx, m.ID, "")
	if err != nil {
		return err
	}
	parts := make([]transcode.Part, len(files))
	for i, f := range files {
		parts[i] = transcode.Part{ContentType: f.File.ContentType, Size: f.File.Size}
	}
	return transcode.Check(p, parts, len(m.Body))
}

// fit makes the files fit, and gives them to the message, unless they are those that were
// refused; refused is the name of their profile, empty if none were.
func (a *Activities) fit(ctx context.Context, m *message.Message, v message.VendorRef, p mediaprofile.Profile, name, refused string) error {
	files, err := a.Journal.MessageMedia(ctx, m.ID, "")
	if err != nil {
		return err
	}
	dir, release, err := workFolder(a.Dir)
	if err != nil {
		return message.Because(message.ReasonUnavailable, err, "there is no room to work on files")
	}
	defer release()
	parts := make([]transcode.Part, len(files))
	for i, f := range files {
		parts[i] = transcode.Part{ContentType: f.File.ContentType, SHA256: hex.EncodeToString(f.File.SHA256[:]), Path: filepath.Join(dir, fmt.Sprintf("in-%d", i+1))}
		if err := a.copy(ctx, f.File, parts[i].Path); err != nil {
			return err
		}
	}
	if parts, err = transcode.Inspect(parts); err != nil {
		return err
	}
	shares, err := transcode.Plan(p, parts, len(m.Body))
	if err != nil {
		return err
	}
	made := make([]message.Media, 0, len(files))
	var told []map[string]any
	for i, part := range parts {
		f, line, err := a.fitOne(ctx, dir, i, part, shares[i], p, files[i].File)
		if err != nil {
			return err
		}
		if line != nil {
			told = append(told, line)
		}
		if f != nil {
			made = append(made, message.Media{Position: files[i].Position, File: *f})
		}
	}
	line := message.Event{Type: message.EventMediaPrepared, Detail: map[string]any{"vendor": v.Name, "profile": p.Name, "files": told}}
	if refused != "" {
		line.Detail["smaller"] = true
		if err := a.others(ctx, m.ID, refused, made); err != nil {
			return err
		}
	}
	err = a.Journal.MediaPrepared(ctx, m.ID, name, made, line)
	if message.ReasonOf(err) == message.ReasonNotFound { // what a conversion gave has just gone, with its last message
		return message.Because(message.ReasonUnavailable, err, "the files have to be made once more")
	}
	return err
}

// others reports an error if files are the same as those of another profile: who has
// refused them would do so again.
func (a *Activities) others(ctx context.Context, id message.ID, profile string, made []message.Media) error {
	before, err := a.Journal.MessageMedia(ctx, id, profile)
	if err != nil {
		return err
	}
	same := func(x, y message.Media) bool { return x.Position == y.Position && x.File.SHA256 == y.File.SHA256 }
	if slices.EqualFunc(before, made, same) {
		return &impossible{message.Refuse(message.ReasonMediaRejected, "the files cannot be made smaller")}
	}
	return nil
}

// copy brings the octets of a file to where programs can read them.
func (a *Activities) copy(ctx context.Context, f message.MediaFile, path string) (err error) {
	r, err := a.Library.Open(ctx, f)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return message.Because(message.ReasonUnavailable, err, "there is no room to work on files")
	}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, w.Close()); err != nil {
		return message.Because(message.ReasonUnavailable, err, "a file could not be read from the media store")
	}
	return nil
}

// fitOne makes one file fit its share, unless that was done before. Nil: there is nothing
// to be sent of it.
func (a *Activities) fitOne(ctx context.Context, dir string, i int, part transcode.Part, share int64, p mediaprofile.Profile, was message.MediaFile) (*message.MediaFile, map[string]any, error) {
	key := transcode.Key(part.SHA256, p, share)
	line := map[string]any{"file": i + 1, "from": part.ContentType, "from_bytes": part.Size}
	f, known, err := a.Journal.MediaResult(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	if known {
		f.AccountID = was.AccountID
		line["type"], line["bytes"], line["again"] = f.ContentType, f.Size, true
		return &f, line, nil
	}
	began := time.Now()
	r, err := a.Converter.FitOne(ctx, dir, i+1, part, share, p, func(detail string) { beat(ctx, detail) })
	if err != nil {
		return nil, nil, err
	}
	if a.Observe != nil {
		a.Observe(r)
	}
	if r.Dropped {
		return nil, nil, nil
	}
	line["type"], line["bytes"], line["ms"] = r.Part.ContentType, r.Part.Size, time.Since(began).Milliseconds()
	if r.Rung != "" {
		line["made"] = r.Rung
	}
	if !r.Changed {
		return &message.MediaFile{AccountID: was.AccountID, SHA256: was.SHA256, ContentType: was.ContentType, Size: was.Size}, line, nil
	}
	stored, err := a.store(ctx, r.Part.Path, was.AccountID)
	if err != nil {
		return nil, nil, err
	}
	return &stored, line, a.Journal.KeepMediaResult(ctx, key, stored.SHA256)
}

// store adds a file that was made here.
func (a *Activities) store(ctx context.Context, path string, account message.ID) (message.MediaFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return message.MediaFile{}, err
	}
	defer f.Close()
	up, err := a.Library.Receive(ctx, f, MaxFile)
	if err != nil {
		return message.MediaFile{}, err
	}
	defer up.Close()
	return up.Add(ctx, account)
}

func beat(ctx context.Context, detail string) {
	if activity.IsActivity(ctx) {
		activity.RecordHeartbeat(ctx, detail)
	}
}

func attempt(ctx context.Context) int {
	if activity.IsActivity(ctx) {
		return int(activity.GetInfo(ctx).Attempt)
	}
	return 1
}
