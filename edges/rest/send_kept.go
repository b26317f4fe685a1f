package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

// keptSendPath is where gateways before this one took messages.
const keptSendPath = "/messages/send"

// maxKeptBody is the largest body there: a file of maxUpload in base64, and the rest.
const maxKeptBody = maxUpload/3*4 + 64<<10

// keptSend is the body of POST /messages/send as the document shows it: that of
// POST /v1/messages, and two fields of older gateways.
type keptSend struct {
	CreateMessage
	Text  string     `json:"text,omitempty" maxLength:"5000" doc:"The same as body; give one of them" example:"Your parcel is on its way"`
	Media []keptFile `json:"media,omitempty" maxItems:"10" nullable:"false" doc:"Files, each by its URL or with its content. Those by URL go before media_ids, those with their content after them; all together at most ten."`
}

// CreateMessage is the body of a new message. It is exported only because huma looks
// into embedded types no other way.
type CreateMessage = createMessage

// keptFile is a file by its URL, or with its content.
type keptFile struct {
	URL         string `json:"url,omitempty" format:"uri" maxLength:"2048" doc:"As one of media_urls"`
	Filename    string `json:"filename,omitempty" maxLength:"255" doc:"Beside content; not looked at"`
	ContentType string `json:"content_type,omitempty" maxLength:"255" doc:"Beside content; not looked at: the type is decided by the content"`
	Content     string `json:"content,omitempty" contentEncoding:"base64" doc:"The file in base64, of at most 10 MiB"`
}

// keptCreate is a body that was read.
type keptCreate struct {
	create createMessage
	text   bool     // the text came as text
	files  [][]byte // those with their content
}

func (in *keptCreate) member(d *decoder, name, location string) (bool, error) {
	switch name {
	case "text", "body":
		if in.create.Body != "" {
			d.invalid(location, "body and text are the same field; send one of them")
			return true, d.skip()
		}
		in.text = name == "text"
		return true, d.text(location, &in.create.Body, lines)
	case "media":
		return true, d.each(location, maxFiles, func(place string) error { return in.file(d, place) })
	}
	return in.create.member(d, name, location)
}

// file reads one of media.
func (in *keptCreate) file(d *decoder, place string) error {
	var f keptFile
	before := len(d.list)
	err := d.inner(place, func(d *decoder, name, location string) (bool, error) {
		switch name {
		case "url":
			return true, d.text(location, &f.URL, oneLine)
		case "filename":
			return true, d.text(location, &f.Filename, oneLine)
		case "content_type":
			return true, d.text(location, &f.ContentType, oneLine)
		case "content":
			return true, d.text(location, &f.Content, lines)
		}
		return false, nil
	})
	if err != nil || len(d.list) > before {
		return err
	}
	switch {
	case f.URL != "" && f.Content != "":
		d.invalid(place, "has both url and content; send one of them")
	case f.URL != "":
		in.create.MediaURLs = append(in.create.MediaURLs, f.URL)
	case f.Content == "":
		d.invalid(place, "needs url or content")
	default:
		in.content(d, place+".content", f.Content)
	}
	return nil
}

// content reads a file in base64, with or without padding and line ends.
func (in *keptCreate) content(d *decoder, place, text string) {
	text = strings.TrimRight(strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, text), "=")
	file, err := base64.RawStdEncoding.DecodeString(text)
	switch {
	case err != nil:
		d.invalid(place, "must be base64")
	case len(file) == 0:
		d.invalid(place, "must not be empty")
	case len(file) > maxUpload:
		d.add(message.ReasonPayloadTooLarge, place, "has %d octets; a file may have %d", len(file), maxUpload)
	default:
		in.files = append(in.files, file)
	}
}

// decodeKept reads and checks a body, as that of a new message is.
func (s *Server) decodeKept(body []byte) (keptCreate, int, *message.Error) {
	var in keptCreate
	status, refusal := readObject(body, in.member, func(d *decoder) {
		if !d.faulty("body.text") {
			in.create.check(d, s.now(), s.checkURL(), len(in.files))
		}
	})
	return in, status, refusal
}

// keptFields is what the text of a new message is called if it came as text.
var keptFields = map[string]string{"body.body": "body.text"}

// sendKept answers POST /messages/send.
func (s *Server) sendKept(ctx context.Context, _ *struct{}) (*rawOutput, error) {
	x := exchangeOf(ctx)
	body, done, err := s.keptBody(x)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	defer done()
	// As in sendMessage: only time ends the work.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.answerTimeout())
	defer cancel()
	key, err := s.idempotencyKey(x, body)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if key != nil {
		key.Operation = http.MethodPost + " " + keptSendPath
	}
	in, status, refusal := s.decodeKept(body)
	if refusal != nil || len(in.files) > 0 { // what was answered before is not stored again
		if first, err := s.firstAnswer(ctx, x, x.caller.account.ID, key); err != nil || first != nil {
			return first, err
		}
	}
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	request := in.create.request(&x.caller)
	request.TraceParent = traceParent(x.request)
	if err := s.takeMessage(x, &request); err != nil {
		return nil, s.problem(x, err, 0)
	}
	if err = s.findMedia(ctx, &in.create, &request); err == nil {
		err = s.keepFiles(ctx, &request, in.files)
	}
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	if request.DryRun {
		return s.dryRun(ctx, x, request)
	}
	a := &answer{server: s, exchange: x}
	if in.text {
		a.fields = keptFields
	}
	return s.accept(ctx, a, request, key)
}

// keptBody reads the body, which may be large: only a few of those are read at a time.
// done is called when the body is not needed any more.
func (s *Server) keptBody(x *exchange) (body []byte, done func(), err error) {
	done = func() {}
	if n := x.request.ContentLength; n < 0 || n > maxBody {
		if !s.uploads.begin(largeBodies) {
			return nil, nil, &limited{message.Refuse(message.ReasonRateLimitExceeded, "more than %d requests with files in them are coming in at a time", uploadsAtOnce), time.Second}
		}
		done = func() { s.uploads.end(largeBodies) }
		deadline := time.Now().Add(uploadTime)
		control := http.NewResponseController(x)
		_ = control.SetReadDeadline(deadline) // where it cannot be set there is none
		_ = control.SetWriteDeadline(deadline.Add(DefaultWrite))
	}
	body, err = io.ReadAll(http.MaxBytesReader(x.ResponseWriter, x.request.Body, maxKeptBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		err = message.Refuse(message.ReasonPayloadTooLarge, "the body is larger than %d octets; upload large files at POST /v1/media", maxKeptBody)
	case err != nil:
		err = message.Because(message.ReasonInvalidRequest, err, "the body could not be read to its end")
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return body, done, nil
}

// largeBodies counts as an account of its own: its uploads are the large bodies of all.
var largeBodies message.ID

// keepFiles stores files as uploads, and gives them to the request.
func (s *Server) keepFiles(ctx context.Context, r *ingress.Request, files [][]byte) error {
	if len(files) > 0 && s.Media == nil {
		return message.Refuse(message.ReasonUnavailable, "this process has no media store, and takes no messages with media")
	}
	for i, file := range files {
		if r.DryRun { // nothing is stored
			r.Media = append(r.Media, message.Media{Source: fmt.Sprintf("content of media[%d]", i)})
			continue
		}
		up, err := s.Media.Receive(ctx, bytes.NewReader(file), maxUpload)
		if err != nil {
			return err
		}
		kept, _, err := up.Keep(ctx, r.AccountID, message.MediaKept, nil)
		if err = errors.Join(err, up.Close()); err != nil {
			return err
		}
		r.Media = append(r.Media, message.Media{File: kept})
	}
	return nil
}

func (s *Server) registerKeptSend(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	op := s.operation(huma.Operation{
		OperationID: "sendMessageKept", Method: http.MethodPost, Path: keptSendPath, Tags: []string{"Messages"}, Summary: "Send a message (kept path)",
		Description: "As `POST /v1/messages`, for programs of gateways before this one: the text may be called `text`, and files may be in the request. " +
			"An `Idempotency-Key` belongs to the path: the same key at `/v1/messages` is another one.",
		DefaultStatus: http.StatusAccepted, Parameters: []*huma.Param{idempotencyKeyParam()},
		Responses: map[string]*huma.Response{
			"202": {Description: "Stored and under way", Content: contentOf[messageResource](schemas)},
			"200": {Description: "A dry run: what would happen", Content: contentOf[dryRunResource](schemas)},
		},
		Extensions: example(`curl -sS ` + exampleHost + keptSendPath + ` -u "$API_KEY:$API_SECRET" -H 'Content-Type: application/json' \
  -d '{"from":"+12025550143","to":"+13105550117","text":"Your parcel is on its way"}'`),
	}, access{scope: scopeMessagesWrite, rate: asMessage, bodies: []string{jsonType}}, 400, 402, 409, 413, 415)
	op.MaxBodyBytes = 0 // the operation reads the body itself
	register(api, op, s.sendKept, bodyOf[keptSend](schemas))
}
