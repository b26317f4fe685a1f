package transcode

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// stream fits video and sound.
func (j *job) stream(ctx context.Context) (outcome, error) {
	p, name, demuxer, err := j.look(ctx)
	if err != nil {
		return outcome{}, err
	}
	moving := p.first("video") != nil
	if !moving && j.format.kind == video {
		// The same container holds sound alone.
		if j.format = formatM4A; demuxer != "mov" {
			j.format = format{"audio/webm", "weba", audio, demuxer}
		}
	}
	j.say("%s of %d octets, %s", j.format.contentType, j.part.Size, duration(p.seconds()))
	if out, ok, err := j.asItIs(ctx, p); ok || err != nil {
		return out, err
	}
	s := source{probe: p, name: name, demuxer: demuxer, seconds: p.seconds()}
	if most := float64(j.profile.MaxSeconds); most > 0 && s.seconds > most+0.5 {
		if !j.profile.Cut {
			return outcome{}, rejected("%s are over the limit of %d s", duration(s.seconds), j.profile.MaxSeconds)
		}
		s.seconds = most
	}
	if moving {
		return j.video(ctx, s)
	}
	return j.audio(ctx, s)
}

// source is a video or sound that is to be converted.
type source struct {
	probe
	name, demuxer string
	seconds       float64 // how much of it is to be converted
}

// look probes the part. What has no length (browsers record so) is copied into a
// container that has.
func (j *job) look(ctx context.Context) (p probe, name, demuxer string, err error) {
	name, demuxer = sourceName, j.format.demuxer
	if p, err = j.probe(ctx, name, demuxer); err != nil {
		return p, "", "", err
	}
	if err := p.sound(); err != nil {
		return p, "", "", err
	}
	if demuxer == "mov" {
		whole, _, err := j.layoutOf(name)
		if err != nil {
			return p, "", "", err
		}
		if !whole {
			return p, "", "", rejected("it breaks off")
		}
	}
	if p.seconds() > 0 {
		return p, name, demuxer, nil
	}
	if _, err := j.run(ctx, ffmpeg, slices.Concat(global, input(demuxer), []string{"-i", name, "-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy",
		"-t", strconv.Itoa(mediaprofile.MaxSeconds + 1), "-f", "matroska", "copy.mkv"})...); err != nil {
		return p, "", "", err
	}
	name, demuxer = "copy.mkv", formatMatroska.demuxer
	if p, err = j.probe(ctx, name, demuxer); err != nil {
		return p, "", "", err
	}
	if p.seconds() == 0 {
		return p, "", "", rejected("it has no length")
	}
	return p, name, demuxer, p.sound()
}

// global begins every command line of ffmpeg. One thread each: the places count
// processors.
var global = []string{"-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-filter_threads", "1", "-filter_complex_threads", "1", "-threads", "1"}

// tidy ends the options of every output: nothing of the source's tags, chapters and
// other streams, and nothing of the encoder's either.
var tidy = []string{"-map_metadata", "-1", "-map_chapters", "-1", "-sn", "-dn", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1"}

// asItIs is the outcome of what fits: untouched, or copied without its metadata and
// without the boxes that nobody vouches for.
func (j *job) asItIs(ctx context.Context, p probe) (out outcome, ok bool, err error) {
	v, a := p.first("video"), p.first("audio")
	switch {
	case !j.fits(), j.profile.MaxSeconds > 0 && p.seconds() > float64(j.profile.MaxSeconds)+0.5:
		return outcome{}, false, nil
	case v != nil && !j.playable(v), a != nil && !slices.Contains(playableAudio, a.Codec):
		return outcome{}, false, nil
	}
	indexFirst, hides := true, false
	if j.format.demuxer == "mov" {
		if _, indexFirst, err = j.layoutOf(sourceName); err != nil {
			return outcome{}, false, err
		}
		if hides, err = j.hides(sourceName); err != nil {
			return outcome{}, false, err
		}
	}
	if indexFirst && !hides && !p.private() {
		return j.untouched(), true, nil
	}
	muxer := map[format]string{formatMP4: "mp4", format3GP: "3gp", formatM4A: "ipod", formatMP3: "mp3"}[j.format]
	if muxer == "" {
		return outcome{}, false, nil
	}
	j.say("metadata is removed")
	name := "copy." + j.format.ext
	args := slices.Concat(global, input(j.format.demuxer), []string{"-i", sourceName, "-map", "0:v:0?", "-map", "0:a:0?"})
	if v == nil {
		args = append(args, "-vn")
	}
	args = slices.Concat(args, []string{"-c", "copy"}, tidy, muxing(muxer), []string{name})
	if _, err := j.run(ctx, ffmpeg, args...); err != nil {
		return outcome{}, false, nil //nolint:nilerr // what cannot be copied is converted
	}
	if size, err := j.verify(ctx, name, j.format, v != nil, p.seconds()); err != nil || size > j.limit(j.format) {
		return outcome{}, false, nil //nolint:nilerr // likewise
	}
	if j.format.demuxer == "mov" {
		if hides, err = j.hides(name); hides || err != nil {
			return outcome{}, false, err
		}
	}
	return outcome{format: j.format, path: j.in(name), rung: "metadata removed"}, true, nil
}

// muxing names a container; of MP4's family with the index in front.
func muxing(muxer string) []string {
	switch muxer {
	case "mp4", "ipod", "3gp":
		return []string{"-movflags", "+faststart", "-f", muxer}
	case "mp3":
		return []string{"-id3v2_version", "0", "-write_xing", "0", "-f", muxer}
	}
	return []string{"-f", muxer}
}

// playableAudio is what handsets play, in or outside a video.
var playableAudio = []string{"aac", "mp3", "amr_nb"}

// playable reports whether handsets show a video as it is.
func (j *job) playable(v *stream) bool {
	w, h := v.display()
	if max(w, h) > j.profile.MaxSide {
		return false
	}
	switch v.Codec {
	case "h264":
		return j.profile.Video == mediaprofile.VideoH264 && (v.PixFmt == "yuv420p" || v.PixFmt == "yuvj420p")
	case "h263":
		return true
	}
	return false
}

// verify looks at what was made: whether it can be read, holds what it should
// and lasts as long. A source whose end is missing shows itself here, for ffmpeg
// takes it for the end.
func (j *job) verify(ctx context.Context, name string, f format, moving bool, seconds float64) (size int64, err error) {
	info, err := os.Stat(j.in(name))
	if err != nil || info.Size() == 0 {
		return 0, undecodable(err, "nothing of it could be converted")
	}
	p, err := j.probe(ctx, name, f.demuxer)
	if err != nil {
		return 0, err
	}
	if moving && p.first("video") == nil || !moving && p.first("audio") == nil {
		return 0, rejected("nothing of it could be converted")
	}
	// A GIF's last frame, the padding of a codec and odd time stamps take or give a
	// little.
	if got := p.seconds(); got < seconds*0.9-0.5 || got <= 0 {
		return 0, rejected("only %s of its %s can be read: it is damaged or breaks off", duration(got), duration(seconds))
	}
	return info.Size(), nil
}

// made is the outcome of a file in the job's directory.
func (j *job) made(name string, f format, rung string, args ...any) outcome {
	return outcome{format: f, path: j.in(name), rung: fmt.Sprintf(rung, args...)}
}
