package email

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/textproto"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// File is a file that is attached.
type File struct {
	Name        string // such as media-1.jpg; the caller's own, not the handset's
	ContentType string // without parameters
	Size        int64  // octets
	// Open opens it, for each try anew. It is read once and closed.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// partHeader is more than the lines around a file take, in octets.
const partHeader = 512

// Weight is how many octets a file adds to a mail: base64 has four for three, and a line
// break behind 76 (RFC 2045 §6.8).
func (f File) Weight() int64 {
	encoded := (f.Size + 2) / 3 * 4
	return encoded + encoded/76*2 + partHeader
}

// FileError is why a file could not be attached. The relay has not taken the mail.
type FileError struct {
	Name string
	Err  error // of Open, or of reading
}

func (e *FileError) Error() string { return e.Name + " could not be read" }
func (e *FileError) Unwrap() error { return e.Err }

// attachment is the file for the library. A mail whose file breaks off must not end like
// one that is whole, and the library would end it so, with its next command: the connection
// is cut by failed instead, and the relay drops what it has.
func (f File) attachment(ctx context.Context, failed func(*FileError)) *gomail.File {
	kind, params := f.ContentType, map[string]string{"name": f.Name}
	if strings.HasPrefix(kind, "text/") {
		params["charset"] = "utf-8" // as which the gateway has recognised it
	}
	write := func(w io.Writer) (int64, error) {
		n, err := f.copy(ctx, w)
		if err != nil {
			failed(&FileError{f.Name, err})
		}
		return n, err
	}
	return &gomail.File{Name: f.Name, Writer: write, Header: textproto.MIMEHeader{"Content-Type": {mime.FormatMediaType(kind, params)}}}
}

func (f File) copy(ctx context.Context, w io.Writer) (int64, error) {
	r, err := f.Open(ctx)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.Copy(w, r)
	if err == nil && n != f.Size {
		err = fmt.Errorf("it has %d octets and should have %d", n, f.Size)
	}
	return n, err
}

// timeOf is how long the try of a mail may take.
func timeOf(m Mail) time.Duration {
	var octets int64
	for _, f := range m.Files {
		octets += f.Weight()
	}
	return min(timeout+time.Duration(octets/octetsASecond)*time.Second, Longest)
}
