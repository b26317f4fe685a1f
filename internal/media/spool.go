package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// spoolPrefix begins the name of a spool file, for as long as it has one.
const spoolPrefix = "postrider-spool-"

// chunk is how much is read, hashed and written at a time.
const chunk = 64 << 10

func (s *Store) openSpool() error {
	if s.spool == "" {
		if s.spool = os.TempDir(); s.dir != "" {
			s.spool = filepath.Join(s.dir, "spool")
		}
	}
	if err := os.MkdirAll(s.spool, 0o700); err != nil {
		return err
	}
	s.create = func() (*os.File, error) {
		if f, able, err := nameless(s.spool); able {
			return f, err
		}
		f, err := os.CreateTemp(s.spool, spoolPrefix+"*") // mode 0600
		if err != nil {
			return nil, err
		}
		// From here on the file lives as long as it is open: a process that is killed
		// leaves nothing. One that is killed before this line leaves an empty file,
		// for Clean.
		if err := os.Remove(f.Name()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	return nil
}

// Spooled is a file that has come in and is not stored yet. Its methods are for one
// goroutine at a time, but Object, and what Open gives. Close it, stored or not.
type Spooled struct {
	store  *Store
	file   *os.File
	object Object
}

// Spool takes a file in without storing it, for callers who note it in the journal
// before it is stored. It reads r to its end, and at most limit bytes: for more the
// error is a *TooLargeError. An error of r is wrapped; ErrFull and ErrUnavailable are
// the spool's. Ctx is looked at between reads, so a reader that can hang has to end with ctx
// by itself, as a body of package fetch or of a server's request does.
func (s *Store) Spool(ctx context.Context, r io.Reader, limit int64) (*Spooled, error) {
	if limit < 0 {
		return nil, fmt.Errorf("spool media: a limit of %d bytes; give 0 or more", limit)
	}
	f, err := s.create()
	if err != nil {
		return nil, storage("spool media", err)
	}
	object, err := take(ctx, f, r, limit)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Spooled{store: s, file: f, object: object}, nil
}

// maxIdleReads is how many reads in a row may give nothing, as in package bufio.
const maxIdleReads = 100

// take copies r to f and looks at what passes.
func take(ctx context.Context, f io.Writer, r io.Reader, limit int64) (Object, error) {
	hash, look := sha256.New(), new(sniffer)
	buf := make([]byte, chunk)
	for size, idle := int64(0), 0; ; {
		if err := ctx.Err(); err != nil {
			return Object{}, fmt.Errorf("read media: %w", err)
		}
		n, err := r.Read(buf)
		if size += int64(n); size > limit {
			return Object{}, &TooLargeError{Limit: limit}
		}
		if n > 0 {
			idle = 0
			hash.Write(buf[:n])
			look.write(buf[:n])
			if _, err := f.Write(buf[:n]); err != nil {
				return Object{}, storage("spool media", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return Object{SHA256: [32]byte(hash.Sum(nil)), Size: size, ContentType: look.contentType()}, nil
		case err != nil:
			return Object{}, fmt.Errorf("read media: %w", err)
		case n == 0:
			if idle++; idle == maxIdleReads {
				return Object{}, fmt.Errorf("read media: %w", io.ErrNoProgress)
			}
		}
	}
}

// Object tells what came in.
func (p *Spooled) Object() Object { return p.object }

// Open gives a reader of the bytes, from the first; each call gives another. They
// are of use until Close.
func (p *Spooled) Open() *io.SectionReader { return io.NewSectionReader(p.file, 0, p.object.Size) }

// Close gives the spool's room back. It may be called twice.
func (p *Spooled) Close() error {
	if err := p.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close spooled media: %w", err)
	}
	return nil
}

// Store stores the file unless it is there already, and returns when it will survive a
// loss of power. It may be called again, after an error and after success. Errors are
// ErrFull, ErrUnavailable, or ctx's.
//
// One that is there with another size than it should have was cut short, and is
// stored anew.
func (p *Spooled) Store(ctx context.Context) error {
	at := p.store.places(p.object.SHA256)[0]
	size := p.object.Size
	if at.sealed {
		size = sealedSize(size)
	}
	there, err := p.store.bucket.Attributes(ctx, at.key)
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return storage("find media", err)
	}
	if err != nil || there.Size != size {
		if err := p.upload(ctx, at); err != nil {
			return storage("store media", err)
		}
	}
	// Also for an object that is there: whoever stored it may be about to do this.
	return p.store.settle(at.key)
}

func (p *Spooled) upload(ctx context.Context, at place) error {
	leave, err := p.store.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	contentType := p.object.ContentType
	if at.sealed {
		contentType = unknownType
	}
	var file *os.File
	w, err := p.store.bucket.NewWriter(ctx, at.key, &blob.WriterOptions{
		ContentType:    contentType,
		MaxConcurrency: 1, // of the parts of one upload, each of which is in memory
		BeforeWrite: func(as func(any) bool) error {
			as(&file) // of a folder; nil otherwise
			return nil
		},
	})
	if err != nil {
		return err
	}
	err = p.write(w, at)
	if err == nil && p.store.dir != "" {
		// The writer renames its temporary file when it is closed, and does not sync
		// it. Before the rename, because nobody may see a name whose bytes can be
		// lost: another Store would take it for the object.
		err = p.store.syncFile(file)
	}
	if err != nil {
		cancel() // Close then leaves nothing behind
		_ = w.Close()
		return err
	}
	return w.Close()
}

// maxUploads is how many uploads to a bucket run at a time: the SDK of S3 keeps a file in
// memory until it is sent, or 16 MiB of a larger one, and the file in parts of 8 MiB.
const maxUploads = 8

// enter waits for a turn to upload; a folder has no need of turns.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	if s.dir != "" {
		return func() {}, nil
	}
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// syncFile is an error without a file: should the library no longer show its own, then
// no write of a folder may succeed.
func syncFile(f *os.File) error {
	if f == nil {
		return errors.New("the file being written cannot be synced")
	}
	return f.Sync()
}

// write writes the object as it is stored. It hashes once more: what went to the spool
// and comes back from it need not be the same on a failing disk.
func (p *Spooled) write(w io.Writer, at place) error {
	hash := sha256.New()
	r := io.TeeReader(p.Open(), hash)
	var err error
	if at.sealed {
		err = p.store.sealer.seal(w, r, at, p.object)
	} else {
		_, err = io.Copy(w, r)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(hash.Sum(nil), p.object.SHA256[:]) {
		return errors.New("the spooled bytes have changed")
	}
	return nil
}

// Put is Spool and Store in one.
func (s *Store) Put(ctx context.Context, r io.Reader, limit int64) (Object, error) {
	p, err := s.Spool(ctx, r, limit)
	if err != nil {
		return Object{}, err
	}
	defer p.Close()
	if err := p.Store(ctx); err != nil {
		return Object{}, err
	}
	return p.Object(), nil
}
