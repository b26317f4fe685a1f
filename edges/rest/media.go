package rest

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/media"
	"github.com/postrider/postrider/internal/message"
)

const (
	scopeMediaWrite = "media:write"
	multipartType   = "multipart/form-data"
	anyType         = "*/*"
	// maxUpload is the largest file: 10 MiB.
	maxUpload = 10 << 20
	// uploadTime is how long a file may take to come in and be stored.
	uploadTime = 2 * time.Minute
	// uploadsAtOnce is how many files of an account may be coming in at a time: each
	// takes up to maxUpload of the spool.
	uploadsAtOnce = 8
	// mediaReads is how many reads of files a second an address may make. Vendors read a
	// file of each message twice, HEAD and GET, from a few addresses.
	mediaReads = 500
	// mediaTime is how long a file may take to go out.
	mediaTime = 5 * time.Minute
	// maxRanges is how many ranges of a file one request gets. The store is asked for each
	// anew, and a header has room for thousands.
	maxRanges = 10
)

// Media keeps files of media. *media.Library is one.
type Media interface {
	Receive(ctx context.Context, r io.Reader, limit int64) (*media.Upload, error)
	File(ctx context.Context, account, id message.ID) (message.MediaFile, error)
	ByToken(ctx context.Context, token message.MediaToken) (message.MediaFile, error)
	Open(ctx context.Context, f message.MediaFile) (io.ReadSeekCloser, error)
	Remove(ctx context.Context, account, id message.ID) error
}

// uploadResource is a file that was uploaded.
type uploadResource struct {
	_           struct{} `json:"-" additionalProperties:"true"`
	ID          string   `json:"id" format:"uuid" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	ContentType string   `json:"content_type" doc:"Decided by its content" example:"image/jpeg"`
	SizeBytes   int64    `json:"size_bytes" example:"48211"`
	SHA256      string   `json:"sha256" doc:"Of its content, in hexadecimal"`
	URL         string   `json:"url" format:"uri" doc:"Where anybody who knows it can read the file" example:"https://gw.example/media/5f0c9e0a-77f2-9b1d-e3a4-1c2b3d4e5f60.jpg"`
	ExpiresAt   string   `json:"expires_at" format:"date-time" doc:"It is gone from then on" example:"2026-11-28T20:15:04.310Z"`
	CreatedAt   string   `json:"created_at" format:"date-time" example:"2026-11-21T20:15:04.310Z"`
}

func (s *Server) uploadOf(f message.MediaFile) uploadResource {
	return uploadResource{ID: f.ID.String(), ContentType: f.ContentType, SizeBytes: f.Size, SHA256: hex.EncodeToString(f.SHA256[:]), URL: s.mediaURL(f),
		ExpiresAt: stamp(f.ExpiresAt), CreatedAt: stamp(f.CreatedAt)}
}

// mediaURL is where anybody who has it can read a file.
func (s *Server) mediaURL(f message.MediaFile) string {
	return s.publicURL() + media.Path(f)
}

// uploads counts what is coming in by account. The zero value has none.
type uploads struct {
	mu   sync.Mutex
	open map[message.ID]int
}

// begin reports whether an account may begin another one, which it then ends.
func (u *uploads) begin(account message.ID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[account] >= uploadsAtOnce {
		return false
	}
	if u.open == nil {
		u.open = make(map[message.ID]int)
	}
	u.open[account]++
	return true
}

func (u *uploads) end(account message.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[account]--; u.open[account] == 0 {
		delete(u.open, account)
	}
}

// uploadMedia spools the body as it comes, so that a large file needs no memory.
func (s *Server) uploadMedia(ctx context.Context, _ *struct{}) (*rawOutput, error) {
	x := exchangeOf(ctx)
	if s.Media == nil {
		return nil, s.problem(x, message.Refuse(message.ReasonUnavailable, "this process has no media store"), 0)
	}
	account := x.caller.account.ID
	if !s.uploads.begin(account) {
		return nil, s.problem(x, &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d files are coming in at a time", uploadsAtOnce), time.Second}, 0)
	}
	defer s.uploads.end(account)
	control := http.NewResponseController(x)
	deadline := time.Now().Add(uploadTime)
	_ = control.SetReadDeadline(deadline) // where it cannot be set there is none
	_ = control.SetWriteDeadline(deadline.Add(DefaultWrite))
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()

	up, err := s.receiveUpload(ctx, x)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	defer up.Close()
	return s.keepUpload(ctx, x, up)
}

// receiveUpload finds the file in the body and takes it in.
func (s *Server) receiveUpload(ctx context.Context, x *exchange) (*media.Upload, error) {
	// What multipart adds to a file is little; what is more is no file.
	body := http.MaxBytesReader(x.ResponseWriter, x.request.Body, maxUpload+64<<10)
	kind, params, _ := mime.ParseMediaType(x.request.Header.Get("Content-Type"))
	if kind != multipartType {
		return s.Media.Receive(ctx, body, maxUpload)
	}
	if params["boundary"] == "" {
		return nil, message.Refuse(message.ReasonInvalidRequest, "Content-Type is %s without a boundary", multipartType)
	}
	form := multipart.NewReader(body, params["boundary"])
	part, err := form.NextPart()
	switch {
	case errors.Is(err, io.EOF):
		return nil, message.Refuse(message.ReasonInvalidRequest, "the form has no field; it must have one, named file")
	case err != nil:
		return nil, message.Because(message.ReasonInvalidRequest, err, "the form could not be read")
	case part.FormName() != "file":
		return nil, message.Refuse(message.ReasonInvalidRequest, "the form's first field must be named file")
	}
	up, err := s.Media.Receive(ctx, part, maxUpload)
	if err != nil {
		return nil, err
	}
	switch _, err := form.NextPart(); {
	case errors.Is(err, io.EOF):
		return up, nil
	case err != nil:
		err = message.Because(message.ReasonInvalidRequest, err, "the form could not be read to its end")
		return nil, errors.Join(err, up.Close())
	}
	return nil, errors.Join(message.Refuse(message.ReasonInvalidRequest, "the form has a second field; send one file, in a field named file"), up.Close())
}

// keepUpload stores what came in, and answers.
func (s *Server) keepUpload(ctx context.Context, x *exchange, up *media.Upload) (*rawOutput, error) {
	// A form's boundary is another one each time, so the file itself is what is compared.
	sum := up.Object().SHA256
	key, err := s.operationKey(x, http.MethodPost+" /v1/media", sum[:])
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	var answer func(message.MediaFile) (message.Idempotency, error)
	if key != nil {
		first, err := s.Journal.FirstAnswer(ctx, *key)
		switch {
		case err != nil:
			return nil, s.problem(x, err, 0)
		case first != nil:
			return replay(first), nil
		}
		answer = func(f message.MediaFile) (message.Idempotency, error) {
			k := *key
			var err error
			k.Status = http.StatusCreated
			k.Response, err = encode(s.uploadOf(f))
			return k, err
		}
	}
	// Who has sent a file whole is not to lose it by hanging up now.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	f, first, err := up.Keep(ctx, x.caller.account.ID, message.MediaKept, answer)
	switch {
	case err != nil:
		return nil, s.problem(x, err, 0)
	case first != nil:
		return replay(first), nil
	}
	body, err := encode(s.uploadOf(f))
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &rawOutput{Status: http.StatusCreated, Body: body, ContentType: jsonType, Location: "/v1/media/" + f.ID.String()}, nil
}

type mediaInput struct {
	ID string `path:"id" doc:"The file's id"`
}

func (s *Server) getMedia(ctx context.Context, in *mediaInput) (*output[uploadResource], error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := s.mediaID(in)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	f, err := s.Media.File(ctx, x.caller.account.ID, id)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &output[uploadResource]{Body: s.uploadOf(f)}, nil
}

func (s *Server) removeMedia(ctx context.Context, in *mediaInput) (*struct{}, error) {
	x := exchangeOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	id, err := s.mediaID(in)
	if err == nil {
		err = s.Media.Remove(ctx, x.caller.account.ID, id)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return nil, nil
}

func (s *Server) mediaID(in *mediaInput) (message.ID, error) {
	if s.Media == nil {
		return message.ID{}, message.Refuse(message.ReasonUnavailable, "this process has no media store")
	}
	id, err := message.ParseID(in.ID)
	if err != nil {
		return id, message.Refuse(message.ReasonNotFound, "there is no such file, or it has expired")
	}
	return id, nil
}

// readMedia serves a file to whoever has its token: with ranges, as http.ServeContent
// does, and so that no browser takes it for a page of ours.
func (s *Server) readMedia(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r.Context())
	if taken := s.Limiter.Take("media "+limit.Network(x.client), mediaReads, time.Second, s.now()); !taken.OK {
		x.refuse(s.problem(x, &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d reads of files in a second", mediaReads), taken.Reset}, 0))
		return
	}
	f, content, err := s.openMedia(r)
	if err != nil {
		x.refuse(s.problem(x, err, 0))
		return
	}
	defer content.Close()
	_ = http.NewResponseController(x).SetWriteDeadline(time.Now().Add(mediaTime)) // where it cannot be set there is none
	kind := f.ContentType
	if strings.HasPrefix(kind, "text/") {
		kind += "; charset=utf-8" // it is UTF-8, or it would not be text
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": media.FileName(1, f.ContentType)}))
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=3600")
	h.Set("Etag", `"`+hex.EncodeToString(f.SHA256[:])+`"`)
	if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
		r.Header.Del("Range") // the file as a whole is a right answer to it (RFC 9110 §14.2)
	}
	http.ServeContent(w, r, "", f.CreatedAt, content)
}

func (s *Server) openMedia(r *http.Request) (message.MediaFile, io.ReadSeekCloser, error) {
	name, _, _ := strings.Cut(chi.URLParam(r, "token"), ".")
	token, ok := message.ParseMediaToken(name)
	if !ok {
		return message.MediaFile{}, nil, message.Refuse(message.ReasonNotFound, "there is no such file, or it has expired")
	}
	f, err := s.Media.ByToken(r.Context(), token)
	if err != nil {
		return f, nil, err
	}
	content, err := s.Media.Open(r.Context(), f)
	return f, content, err
}

// registerMedia adds the operations on files of media.
func (s *Server) registerMedia(api huma.API) {
	doc := api.OpenAPI()
	schemas := doc.Components.Schemas
	doc.Tags = append(doc.Tags, &huma.Tag{Name: "Media", Description: "Files of MMS. Upload them, and name them as media_ids of a message; or have the gateway fetch them, as media_urls."})
	tags := []string{"Media"}
	access := access{scope: scopeMediaWrite, rate: asRequest}
	binary := &huma.Schema{Type: "string", Format: "binary"}

	taking := access
	taking.bodies = []string{anyType}
	upload := s.operation(huma.Operation{
		OperationID: "uploadMedia", Method: http.MethodPost, Path: "/v1/media", Tags: tags,
		Summary: "Upload a file",
		Description: "At most 10 MiB: as it is in the body, whatever Content-Type says, or as the one field `file` of a form. Its type is decided by its content. Pictures, sound, video, vCards, calendar entries, text and PDF are taken. " +
			"It is on disk before the 201, and kept for seven days. With an Idempotency-Key it is the file that is compared.",
		DefaultStatus: http.StatusCreated,
		Parameters:    []*huma.Param{idempotencyKeyParam()},
		Responses:     map[string]*huma.Response{"201": {Description: "Stored", Content: contentOf[uploadResource](schemas)}},
		Extensions:    example(`curl -sS ` + exampleHost + `/v1/media -u "$API_KEY:$API_SECRET" -F file=@parcel.jpg`),
	}, taking, 400, 409, 413, 415)
	upload.MaxBodyBytes = 0 // the operation reads the body itself
	register(api, upload, s.uploadMedia, &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		anyType:       {Schema: binary},
		multipartType: {Schema: &huma.Schema{Type: "object", Required: []string{"file"}, Properties: map[string]*huma.Schema{"file": binary}}},
	}})

	register(api, s.operation(huma.Operation{
		OperationID: "getMedia", Method: http.MethodGet, Path: "/v1/media/{id}", Tags: tags,
		Summary:    "Read what is known of a file",
		Extensions: example(`curl -sS ` + exampleHost + `/v1/media/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET"`),
	}, access, 404), s.getMedia, nil)

	register(api, s.operation(huma.Operation{
		OperationID: "deleteMedia", Method: http.MethodDelete, Path: "/v1/media/{id}", Tags: tags,
		Summary: "Remove a file", Description: "Its URL ends at once.", DefaultStatus: http.StatusNoContent,
		Extensions: example(`curl -sS -X DELETE ` + exampleHost + `/v1/media/01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21 -u "$API_KEY:$API_SECRET"`),
	}, access, 404), s.removeMedia, nil)
}

// publicURL is where customers reach this edge, without a slash at the end.
func (s *Server) publicURL() string { return cmp.Or(strings.TrimSuffix(s.PublicURL, "/"), exampleHost) }
