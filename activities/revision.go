package activities

import (
	"context"

	"github.com/postrider/postrider/internal/message"
)

// Reader reads a message.
type Reader interface {
	// Envelope is the message as it was accepted; its status may be out of date,
	// and when it comes from memory it may have been revised since.
	Envelope(ctx context.Context, id message.ID) (*message.Message, error)
	Message(ctx context.Context, id message.ID) (*message.Message, error)
}

// Revision reads the message as the given revision made it. Current is false when
// the record has another one: what was decided of it no longer holds. It may be
// revised again in the next moment, so whoever writes names the revision as well.
func Revision(ctx context.Context, j Reader, id message.ID, revision int) (m *message.Message, current bool, err error) {
	m, err = j.Envelope(ctx, id)
	if err == nil && m.Revision != revision {
		m, err = j.Message(ctx, id)
	}
	if err != nil {
		return nil, false, err
	}
	// A status in which nothing is revised any more says for itself what is to be
	// done, or that nothing is.
	return m, m.Revision == revision || !m.Status.Revisable(), nil
}
