// Package media keeps the files of messages: pictures, films, sound, cards. A file
// is known by the SHA-256 of its bytes, so that one that goes to a thousand people,
// or is sent again next month, is stored once. Who refers to which file, and until
// when, stands in the journal; here are bytes alone.
//
// What comes in is spooled first: to a file without a name, which is gone with the
// process, while it is counted, hashed and looked at. Then it is stored, in a folder
// or in a bucket of S3:
//
//	plain/9b/9b1d…            the bytes themselves; its name is their SHA-256
//	sealed/k1/4c/4c07…        sealed: a header of 160 bytes, then DARE 2.0
//	spool/                    of a folder only; empty, but after a crash
//
// With a keyring every file is sealed by a key of its own, which stands in the
// header, sealed by the ring. The name is a keyed hash of the SHA-256 then: by the
// SHA-256 itself anybody who can list the names could tell whether a file that they
// have is among them. A store may hold both kinds, since sealing can be turned on
// and a key be changed while files are there: a file is looked for under each
// key of the ring, and in clear; it is stored under the current one.
//
// The rule not to break: when Store or Put has returned, the file survives a loss of
// power. An edge answers 250 or 201 on it.
package media
