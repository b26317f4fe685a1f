package rest

import (
	"time"

	"github.com/postrider/postrider/internal/message"
)

// searchTime is how long a list looks for messages before it answers with what it has found:
// half of the 200 ms in which lists are to answer. The rest is for the slice of the journal
// that is under way then, for parts and files, and for the answer itself.
const searchTime = 100 * time.Millisecond

// within gives a search so much time.
func (s *Server) within(d time.Duration) func() time.Duration {
	end := s.now().Add(d)
	return func() time.Duration { return end.Sub(s.now()) }
}

// saysSearched is what the documents say of lists that stop for the time.
const saysSearched = " A search that few messages fit looks back for a tenth of a second and answers with what it has found: a page may be short or empty and have a `next_cursor` all the same, " +
	"and `searched_until` says how far back it has come. The pages up to the one without `next_cursor` are the whole list."

// messageList is a page of a list of messages.
type messageList[T any] struct {
	_             struct{} `json:"-" additionalProperties:"true"`
	Data          []T      `json:"data" nullable:"false" doc:"There may be more although they are fewer than the limit, or none"`
	NextCursor    *string  `json:"next_cursor" doc:"Give it as cursor to get the next page; null at the end"`
	SearchedUntil *string  `json:"searched_until" format:"date-time" doc:"How far back the search has come when it stopped for the time; null: the page is full, or there is no more"`
}

// searched is the page with what was found.
func searched[T any](found message.Found, show func(*message.Message) T) messageList[T] {
	page := messageList[T]{Data: make([]T, 0, len(found.Messages)), SearchedUntil: optionalTime(found.Until)}
	if found.Next != (message.ID{}) {
		page.NextCursor = optional(encodeMessageCursor(found.Next))
	}
	for _, m := range found.Messages {
		page.Data = append(page.Data, show(m))
	}
	return page
}
