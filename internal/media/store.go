package media

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // the scheme s3
	"gocloud.dev/gcerrors"

	"github.com/postrider/postrider/internal/secret"
)

// Options is what a Store may be given. The zero Options is fit for one machine.
type Options struct {
	// Keyring seals what is stored from now on, and opens what it has keys for. Nil:
	// objects are stored in clear, and sealed ones are not found.
	Keyring *secret.Keyring
	// SpoolDir is the folder for what is on its way in; it needs room for as many
	// files as come in at a time. Empty: "spool" in the folder of the store, or the
	// system's folder for temporary files if the store is no folder.
	SpoolDir string
}

// Object is what is known of a file by its bytes alone.
type Object struct {
	SHA256 [32]byte // of the bytes as they came, sealed or not
	Size   int64    // in bytes
	// ContentType is what the bytes look like, without parameters, such as
	// image/jpeg; application/octet-stream if they look like nothing that is known.
	ContentType string
}

// Hex is the SHA-256 in 64 lower-case hexadecimal digits.
func (o Object) Hex() string { return hex.EncodeToString(o.SHA256[:]) }

// Store keeps objects. Safe for concurrent use, also by several processes on one
// folder or bucket.
type Store struct {
	bucket *blob.Bucket
	dir    string // the store's folder; empty if it is none
	spool  string
	sealer *sealer                  // nil: objects are stored in clear
	create func() (*os.File, error) // a spool file
	turns  chan struct{}            // holds a token for each upload to a bucket
	// What puts things on disk: syncFile and syncDir, and tests look on.
	syncFile func(*os.File) error
	syncDir  func(path string) error
}

// Open opens the store at a location: a folder, as a path or as file:///path, which is
// made with mode 0700 if it is missing; or a bucket of S3 or of a server that speaks
// like it, s3://bucket?region=…&endpoint=…&s3ForcePathStyle=true. Credentials of S3 come
// from where its SDK looks for them (AWS_ACCESS_KEY_ID and others), never from the
// URL. A bucket is not asked for before the first use. Close the Store in the end.
func Open(ctx context.Context, location string, o Options) (*Store, error) {
	s := &Store{spool: o.SpoolDir, turns: make(chan struct{}, maxUploads), syncFile: syncFile, syncDir: syncDir}
	var err error
	switch scheme, _, ok := strings.Cut(location, "://"); {
	case location == "":
		return nil, errors.New("media store: no location; give a folder, or s3://bucket?region=…")
	case !ok:
		s.bucket, s.dir, err = openFolder(location)
	case scheme == "file":
		var path string
		if path, err = pathOf(location); err == nil {
			s.bucket, s.dir, err = openFolder(path)
		}
	case scheme == "s3":
		s.bucket, err = openS3(ctx, location)
	default:
		return nil, fmt.Errorf("media store: the scheme %.20q is not known; give a folder, file:///path or s3://bucket?region=…", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("media store: %w", err)
	}
	if o.Keyring != nil {
		s.sealer = newSealer(o.Keyring)
	}
	if err := s.openSpool(); err != nil {
		return nil, errors.Join(fmt.Errorf("media store: %w", err), s.bucket.Close())
	}
	return s, nil
}

// Close gives back what the Store holds. Readers and Spooled of it are not used after.
func (s *Store) Close() error { return s.bucket.Close() }

func pathOf(location string) (string, error) {
	u, err := url.Parse(location)
	if err != nil {
		return "", errors.New("the URL cannot be read; give file:///path")
	}
	if u.Host != "" && u.Host != "localhost" || u.User != nil || u.RawQuery != "" || u.Path == "" {
		return "", errors.New("file:// is followed by an absolute path and nothing else, such as file:///var/lib/postrider/media")
	}
	return u.Path, nil
}

// openFolder opens a folder. NoTempDir keeps the temporary files of writes beside
// their objects, since a rename does not leave a file system; without metadata an
// object is one file.
func openFolder(path string) (*blob.Bucket, string, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, "", err
	}
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	return b, dir, err
}

func openS3(ctx context.Context, location string) (*blob.Bucket, error) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return nil, errors.New("the URL cannot be read; give s3://bucket?region=…")
	}
	if u.User != nil {
		return nil, errors.New("the URL of S3 holds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if u.Path != "" && u.Path != "/" {
		return nil, errors.New("the URL of S3 names the bucket alone; put a prefix into the query, as prefix=…/")
	}
	return blob.OpenBucket(ctx, location)
}

// place is a name under which an object may be.
type place struct {
	key    string // the name within folder or bucket
	keyID  string // of the ring's key that it is sealed with; empty: in clear
	sealed bool
}

const (
	plainArea  = "plain/"
	sealedArea = "sealed/"
)

// fan puts names into 256 folders: folders of a hundred thousand files are slow to
// list and to walk.
func fan(name string) string { return name[:2] + "/" + name }

// places are the names of an object, the one where it is stored now first.
func (s *Store) places(sha [32]byte) []place {
	plain := place{key: plainArea + fan(hex.EncodeToString(sha[:]))}
	if s.sealer == nil {
		return []place{plain}
	}
	return append(s.sealer.places(sha), plain)
}

// Exists reports whether the object is there, without looking whether it is whole.
func (s *Store) Exists(ctx context.Context, sha [32]byte) (bool, error) {
	for _, at := range s.places(sha) {
		if ok, err := s.bucket.Exists(ctx, at.key); ok || err != nil {
			return ok, storage("find media", err)
		}
	}
	return false, nil
}

// Delete removes the object, wherever it is. One that is not there is removed
// already. After a loss of power it may be there again, as an orphan for List.
func (s *Store) Delete(ctx context.Context, sha [32]byte) error {
	for _, at := range s.places(sha) {
		if err := s.bucket.Delete(ctx, at.key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return storage("delete media", err)
		}
	}
	return nil
}

// missing says what it means that an object was found at none of its places.
func (s *Store) missing(ctx context.Context) error {
	if s.sealer == nil {
		return ErrNotFound
	}
	list := s.bucket.List(&blob.ListOptions{Prefix: sealedArea, Delimiter: "/"})
	for {
		at, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return ErrNotFound
		}
		if err != nil {
			return storage("list the keys of media", err)
		}
		id := strings.TrimSuffix(strings.TrimPrefix(at.Key, sealedArea), "/")
		if at.IsDir && !s.sealer.knows(id) {
			return fmt.Errorf("%w: the store has objects under the key %.32q; put it back behind the current one", ErrUnknownKey, id)
		}
	}
}

// settle makes the name of an object survive a loss of power: a folder's entry is on
// disk when the folder is synced, and so up to the store's. It costs nothing if
// nothing changed since the last time.
func (s *Store) settle(key string) error {
	if s.dir == "" {
		return nil
	}
	for at := filepath.Dir(filepath.FromSlash(key)); ; at = filepath.Dir(at) {
		if err := s.syncDir(filepath.Join(s.dir, at)); err != nil {
			return storage("sync media", err)
		}
		if at == "." {
			return nil
		}
	}
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
