package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// Records is what a Library needs of the journal.
type Records interface {
	// AddMedia commits a file whose bytes are about to be stored, and fills in its times.
	AddMedia(ctx context.Context, f *message.MediaFile) error
	// MediaReady notes that they are, with the answer that a request's key gets again;
	// replay is the first one if the key was seen before, and then nothing was noted.
	MediaReady(ctx context.Context, id message.ID, keep time.Duration, answer func(message.MediaFile) (message.Idempotency, error)) (f message.MediaFile, replay *message.Idempotency, err error)
	Media(ctx context.Context, account, id message.ID) (message.MediaFile, error)
	MediaByToken(ctx context.Context, token message.MediaToken) (message.MediaFile, error)
	RemoveMedia(ctx context.Context, account, id message.ID) error
	// DropMedia has remove take away the bytes of one file that nobody has any more, and
	// reports whether it found one to look at.
	DropMedia(ctx context.Context, remove func(ctx context.Context, sum [32]byte) error) (found bool, err error)
}

// Library joins the two: the bytes of files, which a Store has, and who has which, which
// the journal knows. Its errors are *message.Error, or those of the journal. Safe for
// concurrent use.
type Library struct {
	Store   *Store
	Records Records
}

// Upload is a file that has come in. Its owner closes it.
type Upload struct {
	library *Library
	spooled *Spooled
}

// Receive takes a file in: all of r, and at most limit bytes. Refused are
// ReasonPayloadTooLarge, an empty file, and ReasonMediaRejected for what no phone is sent.
func (l *Library) Receive(ctx context.Context, r io.Reader, limit int64) (*Upload, error) {
	s, err := l.Store.Spool(ctx, r, limit)
	if err != nil {
		return nil, refusal(err)
	}
	o := s.Object()
	switch {
	case o.Size == 0:
		err = message.Refuse(message.ReasonInvalidRequest, "the file is empty")
	case !Carried(o.ContentType):
		err = message.Refuse(message.ReasonMediaRejected, "the file is %s by its content, which cannot be sent; send a picture, sound, video, vCard, calendar entry, text or PDF", o.ContentType)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Upload{l, s}, nil
}

// Object tells what came in.
func (u *Upload) Object() Object { return u.spooled.Object() }

// Close gives the room of what came in back. It may be called twice.
func (u *Upload) Close() error { return u.spooled.Close() }

// Add stores the file for an account that is about to give it to a message: until then,
// and for an hour at most, nobody finds it. Its ID is what the journal is told.
func (u *Upload) Add(ctx context.Context, account message.ID) (message.MediaFile, error) {
	o := u.spooled.Object()
	f := message.MediaFile{ID: message.NewID(), AccountID: account, Token: message.NewMediaToken(), SHA256: o.SHA256, ContentType: o.ContentType, Size: o.Size}
	if err := u.library.Records.AddMedia(ctx, &f); err != nil {
		return f, err
	}
	// What fails from here on leaves a row that nobody finds, and that ends by itself.
	if err := u.spooled.Store(ctx); err != nil {
		return f, refusal(err)
	}
	return f, nil
}

// Keep stores the file for an account, to be kept for so long from when it is stored. When
// it returns, the file is on disk and in the journal. With answer, the request's key is
// kept in the same commit; replay is the first answer if the key was seen before.
func (u *Upload) Keep(ctx context.Context, account message.ID, keep time.Duration, answer func(message.MediaFile) (message.Idempotency, error)) (f message.MediaFile, replay *message.Idempotency, err error) {
	if f, err = u.Add(ctx, account); err != nil {
		return f, nil, err
	}
	return u.library.Records.MediaReady(ctx, f.ID, keep, answer)
}

// File finds a file of an account; ReasonNotFound for every other.
func (l *Library) File(ctx context.Context, account, id message.ID) (message.MediaFile, error) {
	return l.Records.Media(ctx, account, id)
}

// ByToken finds the file that a token lets anybody read.
func (l *Library) ByToken(ctx context.Context, token message.MediaToken) (message.MediaFile, error) {
	return l.Records.MediaByToken(ctx, token)
}

// Remove removes a file of an account.
func (l *Library) Remove(ctx context.Context, account, id message.ID) error {
	return l.Records.RemoveMedia(ctx, account, id)
}

// Open opens the bytes of a file. The caller closes it.
func (l *Library) Open(ctx context.Context, f message.MediaFile) (io.ReadSeekCloser, error) {
	r, _, err := l.Store.ReadSeeker(ctx, f.SHA256)
	if err != nil {
		return nil, refusal(err)
	}
	return r, nil
}

// Sweep takes away the bytes of at most limit files that nobody has any more, and tells
// how many it has looked at.
func (l *Library) Sweep(ctx context.Context, limit int) (looked int, err error) {
	for looked < limit {
		found, err := l.Records.DropMedia(ctx, l.Store.Delete)
		if err != nil || !found {
			return looked, err
		}
		looked++
	}
	return looked, nil
}

// refusal gives an error of the store its reason.
func refusal(err error) error {
	var large *TooLargeError
	switch {
	case errors.As(err, &large):
		return message.Refuse(message.ReasonPayloadTooLarge, "the file is larger than %d octets", large.Limit)
	case errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable), errors.Is(err, ErrUnknownKey):
		return message.Because(message.ReasonUnavailable, err, "the media store cannot be used now")
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrDamaged):
		return message.Because(message.ReasonInternal, err, "the file's content is not in the media store")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return message.Because(message.ReasonUnavailable, err, "the file did not come, or could not be stored, in time")
	}
	return message.Because(message.ReasonInvalidRequest, err, "the file could not be read to its end")
}

// carriedKinds are the families of which everything is taken that is not in never. What a
// vendor does not take is made into what it does when a message is sent.
var carriedKinds = []string{"image/", "audio/", "video/"}

var (
	carriedTypes = []string{"text/plain", "text/vcard", "text/x-vcard", "text/calendar", "application/pdf"}
	// Scripts and lists in the clothes of media.
	neverTypes = []string{"image/svg+xml", "audio/x-mpegurl", "audio/mpegurl", "audio/x-scpls"}
)

// Carried reports whether a file of a type may be part of a message at all.
func Carried(contentType string) bool {
	return !slices.Contains(neverTypes, contentType) &&
		(slices.Contains(carriedTypes, contentType) || slices.ContainsFunc(carriedKinds, func(k string) bool { return strings.HasPrefix(contentType, k) }))
}

// extensions are of the types that have one; others have none.
var extensions = map[string]string{
	"application/pdf": ".pdf", "audio/aac": ".aac", "audio/amr": ".amr", "audio/amr-wb": ".awb", "audio/flac": ".flac", "audio/mp4": ".m4a", "audio/mpeg": ".mp3", "audio/ogg": ".ogg",
	"audio/wav": ".wav", "image/avif": ".avif", "image/bmp": ".bmp", "image/gif": ".gif", "image/heic": ".heic", "image/jpeg": ".jpg", "image/png": ".png", "image/tiff": ".tif",
	"image/webp": ".webp", "text/calendar": ".ics", "text/plain": ".txt", "text/vcard": ".vcf", "text/x-vcard": ".vcf", "video/3gpp": ".3gp", "video/mp4": ".mp4",
	"video/quicktime": ".mov", "video/webm": ".webm", "video/x-matroska": ".mkv", "video/x-msvideo": ".avi",
}

// Extension is what a file of a type is called by at its end, with the dot; empty if
// there is no usual one.
func Extension(contentType string) string { return extensions[contentType] }

// Path is where a file is read over HTTP by whoever knows it. The ending says what it is
// to those who judge by that.
func Path(f message.MediaFile) string {
	return "/media/" + f.Token.String() + Extension(f.ContentType)
}

// FileName is a harmless name for the n-th file of something, from 1.
func FileName(n int, contentType string) string {
	return fmt.Sprintf("media-%d%s", n, Extension(contentType))
}
