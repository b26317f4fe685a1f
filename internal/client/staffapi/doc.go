// Package staffapi is the client of the few operations of the internal API that staff use
// by the command line, generated like package api beside it, which writes both.
package staffapi
