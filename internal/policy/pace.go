package policy

import (
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/snapshot"
)

// PaceLimits lists the caps that the message counts against; none: it is not
// paced.
func PaceLimits(s *snapshot.Snapshot, m *message.Message) []pace.Limit { return nil }
