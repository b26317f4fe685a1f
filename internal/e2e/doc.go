// Package e2e holds the tests of the whole: the programs as they are built, on
// a real Postgres, a real Temporal and a real SMPP session, with processes that
// are killed in the middle. What left the gateway is counted at the simulator,
// never at the gateway itself.
package e2e
