package transcode

import (
	"context"
	"os"
	"slices"
	"strconv"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// audioRung is one way to write sound.
type audioRung struct {
	format
	rate int // bit/s
	mode int // of AMR: the rate's number in 3GPP TS 26.101 table 1a
}

// audioRungs, from the best down, by the profile's choice; AMR ends each where it is
// taken, for speech.
var audioRungs = map[string][]audioRung{
	mediaprofile.AudioAAC: {{formatM4A, 48_000, 0}, {formatM4A, 32_000, 0}, {formatM4A, 24_000, 0}},
	mediaprofile.AudioMP3: {{formatMP3, 64_000, 0}, {formatMP3, 48_000, 0}, {formatMP3, 32_000, 0}, {formatMP3, 24_000, 0}},
	mediaprofile.AudioAMR: nil,
}

var amrRungs = []audioRung{{formatAMR, 12_200, 7}, {formatAMR, 7_950, 5}, {formatAMR, 4_750, 0}}

// overhead of the containers, roughly: 5 % and a header.
func (r audioRung) octets(seconds float64) int64 {
	return int64(float64(r.rate)/8*seconds*1.05) + 2_000
}

// audio converts sound alone.
func (j *job) audio(ctx context.Context, s source) (outcome, error) {
	rungs := audioRungs[j.profile.Audio]
	if j.profile.Audio == mediaprofile.AudioAMR || j.profile.Takes(formatAMR.contentType) {
		rungs = slices.Concat(rungs, amrRungs)
	}
	var last audioRung
	var size int64
	for _, r := range rungs {
		if !j.profile.Takes(r.contentType) {
			continue
		}
		if last = r; r.octets(s.seconds) > j.limit(r.format) {
			continue
		}
		j.say("%s, %g kbit/s", r.contentType, float64(r.rate)/1000)
		name := "made." + r.ext
		var err error
		if err = j.encodeAudio(ctx, s, r, name); err != nil {
			return outcome{}, err
		}
		if size, err = j.verify(ctx, name, r.format, false, s.seconds); err != nil {
			return outcome{}, err
		}
		if size <= j.limit(r.format) {
			return j.made(name, r.format, "%s, %g kbit/s", r.ext, float64(r.rate)/1000), nil
		}
	}
	if last.rate == 0 {
		return outcome{}, rejected("%s takes no sound", j.profile.Name)
	}
	longest := float64(j.limit(last.format)-2_000) / 1.05 * 8 / float64(last.rate)
	if j.profile.Cut && longest < s.seconds && longest >= minCut {
		s.seconds = longest
		return j.audio(ctx, s)
	}
	return outcome{}, rejected("%s of sound are too long for the limit of %d octets: at most %s are possible", duration(s.seconds), j.limit(last.format), duration(longest))
}

func (j *job) encodeAudio(ctx context.Context, s source, r audioRung, name string) error {
	args := slices.Concat(s.from(s.seconds), []string{"-map", "0:a:0", "-vn", "-ac", "1"})
	switch r.format {
	case formatM4A:
		args = append(args, "-c:a", "aac", "-ar", "22050", "-b:a", strconv.Itoa(r.rate))
		_, err := j.run(ctx, ffmpeg, slices.Concat(args, tidy, muxing("ipod"), []string{name})...)
		return err
	case formatMP3:
		args = append(args, "-c:a", "libmp3lame", "-ar", "22050", "-b:a", strconv.Itoa(r.rate))
		_, err := j.run(ctx, ffmpeg, slices.Concat(args, tidy, muxing("mp3"), []string{name})...)
		return err
	}
	wav := "sound.wav"
	if _, err := os.Stat(j.in(wav)); err != nil {
		args = append(args, "-c:a", "pcm_s16le", "-ar", "8000", "-map_metadata", "-1", "-f", "wav", wav)
		if _, err := j.run(ctx, ffmpeg, args...); err != nil {
			return err
		}
	}
	return j.amr(ctx, wav, name, r.mode)
}

// amr encodes by sox, which knows the type by name only: its table of extensions
// has none for it.
func (j *job) amr(ctx context.Context, wav, name string, mode int) error {
	_, err := j.run(ctx, sox, "-V1", "-t", "wav", wav, "-C", strconv.Itoa(mode), "-t", "amr-nb", name)
	return err
}
