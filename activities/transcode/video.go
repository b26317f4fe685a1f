package transcode

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// The arithmetic of video (bit/s).
const (
	usable       = 0.92 // of the budget; the rest is the container and what the encoder goes over
	minVideoRate = 64_000
	bitsAPixel   = 0.2 // more is not to be seen
	minH263Rate  = 40_000
	aacRate      = 24_000
	amrRate      = 12_200
	minWithSound = 90_000 // below, a video goes without
	correction   = 0.95
	videoRuns    = 3
	minCut       = 3 // seconds; less is not worth sending
)

// videoRung is the size for a bit rate.
type videoRung struct {
	rate, side int
	fps        float64
}

// videoRungs: the longer side and the frames per second that a rate is enough for. The
// first keeps within level 3.0 (ITU-T H.264 table A-1: 1,620 macroblocks a
// frame, 40,500 a second) also when it is square.
var videoRungs = []videoRung{
	{500_000, 640, 24},
	{300_000, 480, 20},
	{150_000, 352, 15},
	{0, 240, 12},
}

// target is what one run of an encoder aims at.
type target struct {
	seconds   float64
	rate      int // of the picture
	audioRate int // 0: without sound
	w, h      int
	fps       float64
}

func (t target) String() string {
	return fmt.Sprintf("%d x %d, %.3g/s, %d kbit/s", t.w, t.h, t.fps, (t.rate+t.audioRate)/1000)
}

// aim computes the target from the length, the size and what may be spent. The
// error names the limit: too long, and not to be cut.
func (j *job) aim(s source, limit int64) (target, error) {
	least, audioRate := minVideoRate, aacRate
	if j.profile.Video == mediaprofile.VideoH263 {
		least, audioRate = minH263Rate, amrRate
	}
	bits := float64(limit) * 8 * usable
	t := target{seconds: max(s.seconds, 0.1)}
	total := bits / t.seconds
	if s.first("audio") != nil && (total >= minWithSound || j.profile.Video == mediaprofile.VideoH263 && total >= float64(least+audioRate)) {
		t.audioRate = audioRate
	}
	if total-float64(t.audioRate) < float64(least) {
		longest := bits / float64(least+t.audioRate)
		if !j.profile.Cut || longest < minCut {
			return t, rejected("%s of video are too long for the limit of %d octets: at most %s are worth sending", duration(t.seconds), limit, duration(longest))
		}
		t.seconds, total = longest, float64(least+t.audioRate)
	}
	t.rate = int(min(total-float64(t.audioRate), 10_000_000)) // level 3.0 (ITU-T H.264 table A-1)
	if r := int(number(s.Format.BitRate)); r > 0 {
		// Baseline needs more than newer codecs, but twice is enough to lose nothing.
		t.rate = min(t.rate, max(2*r, 2*minVideoRate))
	}
	return t, nil
}

// shape chooses size and frame rate for the target's bit rate.
func (j *job) shape(t target, v *stream) target {
	rung := videoRungs[len(videoRungs)-1]
	for _, r := range videoRungs {
		if t.rate > r.rate {
			rung = r
			break
		}
	}
	w, h := v.display()
	w, h = fitSide(w, h, min(rung.side, j.profile.MaxSide))
	t.w, t.h = max(w&^1, 2), max(h&^1, 2) // 4:2:0 has no odd sizes
	t.fps = rung.fps
	// With a varying rate the average decides; less than one frame in five seconds is a still.
	if r := ratio(v.FrameRate); r > 0 {
		t.fps = min(t.fps, max(r, 0.2))
	}
	t.rate = min(t.rate, max(int(float64(t.w*t.h)*t.fps*bitsAPixel), minVideoRate))
	return t
}

// video converts until the result fits: at most videoRuns times, each with what
// the one before has taught.
func (j *job) video(ctx context.Context, s source) (outcome, error) {
	f := format3GP
	if j.profile.Video == mediaprofile.VideoH264 {
		f = formatMP4
	}
	if !j.profile.Takes(f.contentType) {
		return outcome{}, rejected("%s takes no video", j.profile.Name)
	}
	limit := j.limit(f)
	t, err := j.aim(s, limit)
	if err != nil {
		return outcome{}, err
	}
	name := "made." + f.ext
	for run := 1; ; run++ {
		if f == formatMP4 {
			t = j.shape(t, s.first("video"))
		} else {
			t.w, t.h, t.fps = 176, 144, 12
			t.rate = min(t.rate, 200_000)
		}
		j.say("%s, %v", f.contentType, t)
		if f == formatMP4 {
			err = j.encodeH264(ctx, s, t, name)
		} else {
			err = j.encodeH263(ctx, s, t, name)
		}
		if err != nil {
			return outcome{}, err
		}
		size, err := j.verify(ctx, name, f, true, t.seconds)
		if err != nil {
			return outcome{}, err
		}
		if size <= limit {
			return j.made(name, f, "%v", t), nil
		}
		if run == videoRuns {
			return outcome{}, j.tooLarge(size, f)
		}
		if t.rate = int(float64(t.rate) * correction * float64(limit) / float64(size)); t.rate < minH263Rate/2 {
			return outcome{}, j.tooLarge(size, f)
		}
	}
}

// from is the input side of a conversion.
func (s source) from(seconds float64) []string {
	return slices.Concat(global, decoding(s.demuxer), []string{"-t", seconds3(seconds), "-i", s.name})
}

func seconds3(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }

// encodeH264 makes constrained baseline and AAC. ffmpeg turns the picture
// upright before the filters.
func (j *job) encodeH264(ctx context.Context, s source, t target, name string) error {
	rate := strconv.Itoa(t.rate)
	args := slices.Concat(s.from(t.seconds), []string{"-map", "0:v:0",
		"-vf", fmt.Sprintf("fps=%.3f,scale=%d:%d,setsar=1,format=yuv420p", t.fps, t.w, t.h),
		"-c:v", "libx264", "-profile:v", "baseline", "-level", "3.0", "-preset", "veryfast",
		"-b:v", rate, "-maxrate", rate, "-bufsize", strconv.Itoa(2 * t.rate)})
	if t.audioRate > 0 {
		args = append(args, "-map", "0:a:0", "-c:a", "aac", "-ac", "1", "-ar", "22050", "-b:a", strconv.Itoa(t.audioRate))
	}
	args = slices.Concat(args, tidy, []string{"-t", seconds3(t.seconds)}, muxing("mp4"), []string{name})
	_, err := j.run(ctx, ffmpeg, args...)
	return err
}

// encodeH263 makes H.263 at its quarter size and AMR. Debian's ffmpeg writes no
// AMR, so sox encodes the sound and ffmpeg only puts the two together.
func (j *job) encodeH263(ctx context.Context, s source, t target, name string) error {
	rate, length := strconv.Itoa(t.rate), seconds3(t.seconds)
	args := slices.Concat(s.from(t.seconds), []string{"-map", "0:v:0",
		"-vf", fmt.Sprintf("fps=%g,scale=%d:%d:force_original_aspect_ratio=decrease,pad=%d:%d:-1:-1,setsar=1,format=yuv420p", t.fps, t.w, t.h, t.w, t.h),
		"-c:v", "h263", "-b:v", rate, "-maxrate", rate, "-bufsize", strconv.Itoa(2 * t.rate)}, tidy, []string{"-t", length}, muxing("3gp"))
	if t.audioRate == 0 {
		_, err := j.run(ctx, ffmpeg, append(args, name)...)
		return err
	}
	args = append(args, "silent.3gp", "-map", "0:a:0", "-c:a", "pcm_s16le", "-ac", "1", "-ar", "8000", "-map_metadata", "-1", "-t", length, "-f", "wav", "sound.wav")
	if _, err := j.run(ctx, ffmpeg, args...); err != nil {
		return err
	}
	if err := j.amr(ctx, "sound.wav", "sound.amr", 7); err != nil {
		return err
	}
	_, err := j.run(ctx, ffmpeg, slices.Concat(global, input("mov"), []string{"-i", "silent.3gp"}, input("amr"),
		[]string{"-i", "sound.amr", "-map", "0:v:0", "-map", "1:a:0", "-c", "copy"}, tidy, muxing("3gp"), []string{name})...)
	return err
}
