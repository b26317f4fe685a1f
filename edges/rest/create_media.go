package rest

import (
	"context"
	"fmt"
	"net/url"

	"github.com/postrider/postrider/edges/ingress"
	"github.com/postrider/postrider/internal/message"
)

const (
	maxFiles    = 10
	mediaBypass = "bypass"
)

// list reads an array of strings of one line.
func (in *createMessage) list(d *decoder, location string, into *[]string) error {
	return d.each(location, maxFiles, func(place string) error {
		var s string
		before := len(d.list)
		if err := d.text(place, &s, oneLine); err != nil {
			return err
		}
		if s == "" && len(d.list) == before {
			d.invalid(place, "must not be empty")
		}
		*into = append(*into, s)
		return nil
	})
}

// media reports whether it is an MMS.
func (in *createMessage) media() bool { return len(in.MediaURLs)+len(in.MediaIDs) > 0 }

func (in *createMessage) checkMedia(d *decoder, checkURL func(*url.URL) error, files int) {
	if n := len(in.MediaURLs) + len(in.MediaIDs) + files; n > maxFiles {
		d.invalid("body.media_ids", "makes %d files together with the others; at most %d are allowed", n, maxFiles)
	}
	for i, u := range in.MediaURLs {
		d.url(fmt.Sprintf("body.media_urls[%d]", i), u, checkURL)
	}
	for i, id := range in.MediaIDs {
		if _, err := message.ParseID(id); err != nil && id != "" {
			d.invalid(fmt.Sprintf("body.media_ids[%d]", i), "must be the id of a file of POST /v1/media")
		}
	}
	if in.media() || files > 0 {
		return
	}
	if in.Subject != "" {
		d.invalid("body.subject", "is of messages with media only; add media_urls or media_ids, or leave it out")
	}
	if in.MediaTranscoding != "" {
		d.invalid("body.media_transcoding", "is of messages with media only; add media_urls or media_ids, or leave it out")
	}
}

// findMedia gives the request its files. An upload that is not there any more is
// Refused, for the same request may have been accepted while it was.
func (s *Server) findMedia(ctx context.Context, in *createMessage, r *ingress.Request) error {
	if !in.media() {
		return nil
	}
	if s.Media == nil {
		return message.Refuse(message.ReasonUnavailable, "this process has no media store, and takes no messages with media")
	}
	for _, u := range in.MediaURLs {
		r.Media = append(r.Media, message.Media{Source: u})
	}
	for i, given := range in.MediaIDs {
		id, err := message.ParseID(given)
		if err != nil {
			return message.Because(message.ReasonInternal, err, "")
		}
		f, err := s.Media.File(ctx, r.AccountID, id)
		switch {
		case message.ReasonOf(err) == message.ReasonNotFound:
			var none faults
			none.invalid(fmt.Sprintf("body.media_ids[%d]", i), "is no file of this account, or it has expired; upload it again")
			r.Refused = none.refusal()
			return nil
		case err != nil:
			return err
		}
		r.Media = append(r.Media, message.Media{File: f})
	}
	return nil
}
