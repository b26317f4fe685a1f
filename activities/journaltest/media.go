package journaltest

import (
	"context"
	"slices"

	"github.com/postrider/postrider/internal/message"
)

// profiled names the files of a message that were made for a profile.
type profiled struct {
	id      message.ID
	profile string
}

// SetMedia gives a message files, made for a profile or, if that is empty, as they came.
func (j *Journal) SetMedia(id message.ID, profile string, files ...message.Media) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.media == nil {
		j.media = make(map[profiled][]message.Media)
	}
	j.media[profiled{id, profile}] = files
}

// MessageMedia lists them.
func (j *Journal) MessageMedia(_ context.Context, id message.ID, profile string) (files []message.Media, err error) {
	err = j.do("message media", func() error {
		files = slices.Clone(j.media[profiled{id, profile}])
		return nil
	})
	return files, err
}
