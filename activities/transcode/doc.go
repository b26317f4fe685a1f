// Package transcode makes the media of a message fit what a vendor or a carrier
// takes: its types, its sizes, and how much of it may travel in one message.
//
// A mediaprofile.Profile says what is taken. Plan shares the message's budget over its
// parts, before anything is converted, so that a result can be found again
// under Key. FitOne then makes one part fit its share, and Fit does both for a
// whole message. What fits already is not touched, except that metadata (where
// a photo was taken, above all) is cut out without encoding it again.
//
// Stills are decoded here, in Go; HEIC, animations, video and sound by child
// processes: ffmpeg, ffprobe, sox for AMR, heif-convert. Each has an empty
// directory of its own, bounds on time, processor, memory and disk, no network
// where the system allows that, and is told by which demuxer to read, so that
// a "picture" that is a playlist opens nothing. At most Config.Limit of them
// run at once, at a low priority, so that a video never delays an SMS.
//
// A conversion aims: it knows the length and the size of what it is given, so
// the first run is usually the last. Exit statuses are not believed: what came
// out is looked at again, and one that is of another type, too large or too
// short is an error that names the part and the limit.
//
// The rule not to break: nothing that a customer named reaches a command line,
// a file name or an error, and no program reads a file whose type was not
// decided by its own octets first.
package transcode
