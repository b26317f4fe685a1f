package submit

import (
	"context"

	"github.com/postrider/postrider/internal/message"
)

// media are the files of an MMS that the step before has made ready; none of one of text
// alone, for which it has no profile.
func (a *Activities) media(ctx context.Context, m *message.Message, profile string) ([]message.MediaLink, error) {
	if m.Kind != message.MMS {
		return nil, nil
	}
	files, err := a.Journal.MessageMedia(ctx, m.ID, profile)
	if err != nil {
		return nil, err
	}
	links := make([]message.MediaLink, 0, len(files))
	for _, f := range files {
		if !f.Fetched() {
			return nil, message.Refuse(message.ReasonInternal, "file %d of %s was not fetched", f.Position, m.ID)
		}
		links = append(links, message.MediaLink{URL: a.MediaURL(f.File), ContentType: f.File.ContentType, Size: f.File.Size, File: f.File})
	}
	if len(links) == 0 && (profile != "" || m.Redacted) {
		return nil, message.Refuse(message.ReasonMediaUnavailable, "the files of %s are gone", m.ID)
	}
	return links, nil
}
