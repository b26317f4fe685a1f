//go:build race

package rest

// raced: the race detector is on, under which the judge of contract_test.go takes ten
// minutes. `make test` runs this package once without, too.
const raced = true
