package postgres

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
)

// idSlack is how long before its acceptance a message may have got its id: one that
// came in parts has the id of its first part.
const idSlack = time.Hour

// idAhead is how long after its acceptance a message's id may seem to be made: so far may
// the clock of the process that made it be ahead of the database's.
const idAhead = time.Hour

// span is a range of ids. One of `from` is in it, one of `to` is not; a zero `to` means that
// there is no such bound.
type span struct{ from, to message.ID }

// spanOf is the range of the ids of what was made at the times of a filter, but for inbound
// messages whose owner was found late, see lateQuery.
func spanOf(f message.Filter) (s span) {
	if !f.CreatedAfter.IsZero() {
		slack := idSlack
		if f.AccountID != (message.ID{}) {
			slack = partitionMargin // of what is farther off there is lateQuery
		}
		s.from = idAt(f.CreatedAfter.Add(-slack))
	}
	if !f.CreatedBefore.IsZero() {
		s.to = idAt(f.CreatedBefore.Add(idAhead))
		if s.to == (message.ID{}) { // the beginning of 1970 is a bound, too
			s.to[15] = 1
		}
	}
	return s
}

// below is the part of the range that is older than an id, if that is not zero.
func (s span) below(id message.ID) span {
	if id != (message.ID{}) && (s.to == (message.ID{}) || bytes.Compare(id[:], s.to[:]) < 0) {
		s.to = id
	}
	return s
}

func (s span) empty() bool { return s.to != (message.ID{}) && bytes.Compare(s.from[:], s.to[:]) >= 0 }

// searchQuery finds the newest messages of a range of ids that a filter lets pass.
func searchQuery(f message.Filter, s span, limit int) (string, []any) {
	q := listing{}
	q.WriteString("select" + messageColumns + "\nfrom ")
	within := q.within(s)
	if byStatus(f) {
		// Without the offset the planner may go through the account's history instead, and
		// look each of it up here.
		q.statuses(f.AccountID, f.Statuses, within)
		q.WriteString("\ncross join lateral (select * from messages where id = found offset 0) m\nwhere true" + within.on("id"))
		q.order = "found"
	} else {
		// The offset keeps the planner to the index of the walk: the filter's other words
		// might seem to have a better one, which has rows of all times.
		q.WriteString("(\n  select *\n  from messages\n  where true" + within.on("id"))
		f = q.walk(f)
		q.WriteString("\n  order by id desc\n  offset 0) m\nwhere true")
	}
	q.narrow(f)
	q.byVendor(f)
	return q.newest(limit)
}

// borderQuery finds the oldest of the newest rows of the walk within a range of ids, if it
// has so many.
func borderQuery(f message.Filter, s span, rows int) (string, []any) {
	q := listing{order: "id"}
	within := q.within(s)
	if byStatus(f) {
		q.order = "found"
		q.WriteString("select found\nfrom ")
		q.statuses(f.AccountID, f.Statuses, within)
	} else {
		q.WriteString("select id\nfrom messages\nwhere true" + within.on("id"))
		q.walk(f)
	}
	fmt.Fprintf(&q, "\norder by %s desc\noffset $%d\nlimit 1", q.order, q.put(rows-1))
	return q.String(), q.args
}

// bounds are conditions on an id: how it is compared, and with what.
type bounds []struct{ is, than string }

// within are the conditions that an id is of a range.
func (q *listing) within(s span) (list bounds) {
	add := func(is string, id message.ID) {
		if id != (message.ID{}) {
			list = append(list, struct{ is, than string }{is, fmt.Sprintf("$%d", q.put(id))})
		}
	}
	add(">=", s.from)
	add("<", s.to)
	return list
}

// on writes the conditions on a column.
func (b bounds) on(column string) string { return b.of(column, "", "") }

// of writes the conditions on a value, each with something before and behind what it is
// compared with.
func (b bounds) of(value, before, behind string) string {
	var text strings.Builder
	for _, c := range b {
		fmt.Fprintf(&text, " and %s %s %s%s%s", value, c.is, before, c.than, behind)
	}
	return text.String()
}

// walk adds the conditions of the index along which a search goes, and gives what they leave
// of the filter. That of a recipient over all accounts is not in the order of ids.
func (q *listing) walk(f message.Filter) message.Filter {
	account := f.AccountID != (message.ID{})
	if account {
		q.and("account_id = $%d", f.AccountID)
		f.AccountID = message.ID{}
	}
	switch {
	case f.VendorMessageID != "":
		q.and(withVendorID, pick([]string{f.VendorMessageID, strings.ToLower(f.VendorMessageID)}, storable))
		f.VendorMessageID = ""
	case f.BatchID != (message.ID{}):
		q.and("batch_id = $%d", f.BatchID)
		f.BatchID = message.ID{}
	case account && f.ClientReference != "":
		q.and("client_reference = $%d", f.ClientReference)
		f.ClientReference = ""
	case f.To != "":
		q.and("to_addr = $%d", string(f.To))
		f.To = ""
	case account && f.Direction == message.Inbound:
		q.WriteString("\n  and direction = 'inbound'") // as it stands in the index
		f.Direction = ""
	}
	return f
}

// indexed reports whether all that a search reads along its walk are messages that it looks
// for, or few: then it is not cut into slices.
func indexed(f message.Filter) bool {
	switch {
	case byStatus(f):
		if slices.ContainsFunc(f.Statuses, waits) {
			return false
		}
		f.AccountID, f.Statuses = message.ID{}, nil
	case f.VendorMessageID != "", f.To != "" && f.AccountID == (message.ID{}) && f.BatchID == (message.ID{}):
		return true
	default:
		f = new(listing).walk(f)
	}
	var rest listing
	rest.narrow(f)
	rest.byVendor(f)
	return rest.Len() == 0
}

// mayBeLate reports whether there may be messages before the range of ids of the times that
// a search asks for: inbound ones of the account.
func mayBeLate(f message.Filter, s span) bool {
	return f.AccountID != (message.ID{}) && f.Direction != message.Outbound && s.from != (message.ID{})
}

// lateQuery finds the inbound messages of a time whose ids are of long before, below floor.
// They come after all that searchQuery finds, and have an index in the order of their time.
// Without the offset the planner may go through the account's history by the ids instead.
func lateQuery(f message.Filter, floor, before message.ID, limit int) (string, []any) {
	q := listing{order: "found"}
	fmt.Fprintf(&q, "select%s\nfrom (\n  select id as found\n  from messages\n  where direction = 'inbound'", messageColumns)
	q.and("account_id = $%d", f.AccountID)
	q.and("id < $%d", span{to: floor}.below(before).to)
	q.and("created_at > $%d", f.CreatedAfter)
	if !f.CreatedBefore.IsZero() {
		q.and("created_at < $%d", f.CreatedBefore)
	}
	q.WriteString("\n  offset 0) f\ncross join lateral (select * from messages where id = found offset 0) m\nwhere true")
	f.Direction = ""
	q.narrow(f)
	q.byVendor(f)
	return q.newest(limit)
}

// newest ends the query: at most limit rows, the newest first.
func (q *listing) newest(limit int) (string, []any) {
	fmt.Fprintf(q, "\norder by %s desc\nlimit $%d", cmp.Or(q.order, "id"), q.put(limit))
	return q.String(), q.args
}
