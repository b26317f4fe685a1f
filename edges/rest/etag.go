package rest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/postrider/postrider/internal/message"
)

// IfMatch is the condition of a change: the resource is still as the caller has seen
// it (RFC 9110 §13.1.1). It is exported only because huma looks into embedded types no
// other way.
type IfMatch struct {
	Given string `header:"If-Match" maxLength:"1000" doc:"The ETag of what was read: the change is refused with 412 if somebody has changed it since. Left out: it is made in any case"`
}

// createdTagged is created with an ETag, as entity is output with one.
type createdTagged[T any] struct {
	Location string `header:"Location" doc:"Its path"`
	ETag     string `header:"ETag" doc:"Names this state of it, for If-Match"`
	Body     T
}

// contentTag is a strong tag of what is given: the same as long as that is the same.
func contentTag(of ...any) string {
	doc, err := json.Marshal(of)
	if err != nil {
		panic(err) // our own structs: it cannot happen
	}
	sum := sha256.Sum256(doc)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// errStale is the refusal of a change whose condition does not hold.
var errStale = message.Refuse(message.ReasonConflict, "somebody has changed it since it was read: read it again")

// check is errStale unless the tag is among those that were given, or none was. Weak
// tags match nothing: they do not say that it is the same.
func (m IfMatch) check(tag string) error {
	if m.Given == "" {
		return nil
	}
	for one := range strings.SplitSeq(m.Given, ",") { // our tags hold no commas
		if one = strings.TrimSpace(one); one == "*" || one == tag {
			return nil
		}
	}
	return errStale
}

// changeStatus is the status of the answer to a change that failed: 412 for the
// condition, and 0, the catalogue's, for everything else.
func changeStatus(err error) int {
	if errors.Is(err, errStale) {
		return http.StatusPreconditionFailed
	}
	return 0
}
