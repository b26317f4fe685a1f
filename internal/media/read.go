package media

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/minio/sio"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Reader gives length bytes of an object from offset on, and the size of the whole
// object. A length below 0, or beyond the end, means up to the end; an offset beyond
// the end is an error. Close what it gives. Ctx is for reading, too.
//
// Errors, also of reading, are ErrNotFound, ErrDamaged, ErrUnknownKey, ErrUnavailable or
// ctx's. Of a sealed object no byte is given that is not authentic. Of one in clear
// that is read whole the last bytes are held back until its SHA-256 is right; a part
// of it cannot be checked.
func (s *Store) Reader(ctx context.Context, sha [32]byte, offset, length int64) (io.ReadCloser, int64, error) {
	for _, at := range s.places(sha) {
		open := s.openPlain
		if at.sealed {
			open = s.openSealed
		}
		r, size, err := open(ctx, at, sha, offset, length)
		if !errors.Is(err, ErrNotFound) {
			return r, size, err
		}
	}
	return nil, 0, s.missing(ctx)
}

// ReadSeeker gives an object for http.ServeContent, and its size. It asks the storage
// when it is read, from where it was sought to on. Ctx is for all of that. Errors are
// those of Reader. It is for one goroutine at a time; close it.
func (s *Store) ReadSeeker(ctx context.Context, sha [32]byte) (io.ReadSeekCloser, int64, error) {
	for _, at := range s.places(sha) {
		size, err := s.sizeAt(ctx, at, sha)
		if err == nil {
			return &seeker{ctx: ctx, store: s, sha: sha, size: size}, size, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, 0, err
		}
	}
	return nil, 0, s.missing(ctx)
}

func (s *Store) sizeAt(ctx context.Context, at place, sha [32]byte) (int64, error) {
	if at.sealed {
		head, err := s.header(ctx, at, sha)
		return head.size, err
	}
	attributes, err := s.bucket.Attributes(ctx, at.key)
	if err != nil {
		return 0, storage("find media", err)
	}
	return attributes.Size, nil
}

// clip bounds a range by the object's size.
func clip(size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size {
		return 0, fmt.Errorf("read media: the offset %d is outside of its %d bytes", offset, size)
	}
	if length < 0 || length > size-offset {
		length = size - offset
	}
	return length, nil
}

func (s *Store) openPlain(ctx context.Context, at place, sha [32]byte, offset, length int64) (io.ReadCloser, int64, error) {
	size, err := s.sizeAt(ctx, at, sha)
	if err != nil {
		return nil, 0, err
	}
	if length, err = clip(size, offset, length); err != nil {
		return nil, size, err
	}
	body := &plain{left: length}
	if length == size {
		body.hash, body.sha = sha256.New(), sha
	}
	if length == 0 {
		if err := body.check(); err != nil { // an empty object may be one that was cut short
			return nil, 0, err
		}
		return body, size, nil
	}
	r, err := s.bucket.NewRangeReader(ctx, at.key, offset, length, nil)
	if err != nil {
		return nil, 0, storage("read media", err)
	}
	body.r = r
	return body, size, nil
}

// plain is an object in clear, or a part of one.
type plain struct {
	r    *blob.Reader // nil: nothing to read
	left int64
	hash hash.Hash // nil: a part, which cannot be checked
	sha  [32]byte
	err  error
}

func (p *plain) check() error {
	if p.hash != nil && !bytes.Equal(p.hash.Sum(nil), p.sha[:]) {
		return damaged("read media", "its bytes have another SHA-256")
	}
	return nil
}

// Read gives an error in place of the last bytes, not after them: who copies as many
// bytes as it was told, such as an HTTP server, would never see it otherwise.
func (p *plain) Read(b []byte) (int, error) {
	if p.err == nil && p.left == 0 {
		p.err = io.EOF
	}
	if p.err != nil || len(b) == 0 {
		return 0, p.err
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	if p.hash != nil {
		p.hash.Write(b[:n])
	}
	if p.left -= int64(n); p.left == 0 {
		if p.err = p.check(); p.err != nil {
			return 0, p.err
		}
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		p.err = damaged("read media", "it is shorter than it was")
	} else {
		p.err = storage("read media", err)
	}
	return n, p.err
}

func (p *plain) Close() error {
	if p.r == nil {
		return nil
	}
	return p.r.Close()
}

// header reads and opens the header of a sealed object, and checks it against what
// else is known.
func (s *Store) header(ctx context.Context, at place, sha [32]byte) (opened, error) {
	r, err := s.bucket.NewRangeReader(ctx, at.key, 0, headerSize, nil)
	if err != nil {
		return opened{}, storage("read media", err)
	}
	defer r.Close()
	header := make([]byte, headerSize)
	n, err := io.ReadFull(source{r}, header)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return opened{}, storage("read media", err)
	}
	head, err := s.sealer.open(header[:n], at)
	switch {
	case err != nil:
		return opened{}, err
	case head.sha != sha:
		return opened{}, damaged("read media", "it is another object")
	case sealedSize(head.size) != r.Size():
		return opened{}, damaged("read media", "it has another size")
	}
	return head, nil
}

// openSealed reads header and packages in two requests. In between the object may be
// stored anew, by somebody who found it missing at the same time as the one who
// stored it first: its packages then belong to another header. So what does not open
// is tried again. After the first package it cannot happen: a request, and an
// open file, stay with the object that they began with.
func (s *Store) openSealed(ctx context.Context, at place, sha [32]byte, offset, length int64) (io.ReadCloser, int64, error) {
	for try := 1; ; try++ {
		r, size, err := s.trySealed(ctx, at, sha, offset, length)
		if try == sealedTries || !errors.Is(err, ErrDamaged) {
			return r, size, err
		}
	}
}

// sealedTries is one more than how many may find an object missing and store it while
// somebody begins to read it.
const sealedTries = 3

func (s *Store) trySealed(ctx context.Context, at place, sha [32]byte, offset, length int64) (io.ReadCloser, int64, error) {
	head, err := s.header(ctx, at, sha)
	if err != nil {
		return nil, 0, err
	}
	if length, err = clip(head.size, offset, length); err != nil {
		return nil, head.size, err
	}
	if length == 0 {
		return io.NopCloser(bytes.NewReader(nil)), head.size, nil
	}
	p := packagesOf(head.size, offset, length)
	r, err := s.bucket.NewRangeReader(ctx, at.key, p.offset, p.length, nil)
	if err != nil {
		return nil, 0, storage("read media", err)
	}
	clear, err := p.unseal(source{r}, head.key)
	if err != nil {
		return nil, 0, errors.Join(storage("read media", err), r.Close())
	}
	body := &sealedBody{r: bufio.NewReader(clear), c: r, left: length}
	if err := body.begin(p.skip); err != nil {
		return nil, 0, errors.Join(err, r.Close())
	}
	return body, head.size, nil
}

// source is what the storage gives. It hides the one error that looks like an end:
// a connection that broke is io.ErrUnexpectedEOF, by which a package would seem to be
// cut short, and the object to be damaged for good.
type source struct{ r io.Reader }

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errBroken
	}
	return n, err
}

var errBroken = errors.New("the storage broke off")

// sealedBody is a sealed object, or a part of one, opened as it is read.
type sealedBody struct {
	r    *bufio.Reader
	c    io.Closer
	left int64
	err  error
}

// begin opens the first package.
func (s *sealedBody) begin(skip int64) error {
	if _, err := s.r.Discard(int(skip)); err != nil {
		return unsealing(err)
	}
	_, err := s.r.Peek(1)
	return unsealing(err)
}

func (s *sealedBody) Read(b []byte) (int, error) {
	if s.err == nil && s.left == 0 {
		s.err = io.EOF
	}
	if s.err != nil || len(b) == 0 {
		return 0, s.err
	}
	n, err := s.r.Read(b[:min(int64(len(b)), s.left)])
	if s.left -= int64(n); s.left > 0 {
		s.err = unsealing(err)
	}
	return n, s.err
}

func (s *sealedBody) Close() error { return s.c.Close() }

// unsealing gives an error of opening packages its kind.
func unsealing(err error) error {
	var seal sio.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &seal), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("read media: %w: %w", ErrDamaged, err)
	case gcerrors.Code(err) == gcerrors.NotFound:
		return storage("read media", errBroken) // it was there a moment ago
	}
	return storage("read media", err)
}

// seeker is what ReadSeeker gives.
type seeker struct {
	ctx       context.Context // there is no other way to Read
	store     *Store
	sha       [32]byte
	size, pos int64
	r         io.ReadCloser // reads on at pos; nil: not begun
}

func (s *seeker) Read(b []byte) (int, error) {
	if s.pos >= s.size {
		return 0, io.EOF
	}
	if s.r == nil {
		r, _, err := s.store.Reader(s.ctx, s.sha, s.pos, -1)
		if err != nil {
			return 0, err
		}
		s.r = r
	}
	n, err := s.r.Read(b)
	s.pos += int64(n)
	return n, err
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, errors.New("read media: sought to before its first byte")
	}
	if offset == s.pos {
		return offset, nil
	}
	s.pos = offset
	return offset, s.Close()
}

func (s *seeker) Close() error {
	if s.r == nil {
		return nil
	}
	r := s.r
	s.r = nil
	return r.Close()
}
