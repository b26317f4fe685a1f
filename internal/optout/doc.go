// Package optout holds in memory who has stopped whom, so that every decision about a
// message can ask without I/O, and reads and writes opt-outs as CSV.
//
// A Set follows the table by version: it is told of changes by notification, looks at
// the version each second in case one was lost, and reads what is newer than it has.
// While the database is away it keeps what it had, and says so.
//
// The rule not to break: a row is applied in the order of its version. What a process
// has written itself may come sooner, by Add; what it has already read as of a later
// version it must not take back.
package optout
