package transcode

import (
	"context"
	"fmt"
	"image"
	"os"
	"slices"

	"golang.org/x/image/draw"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// Bounds on animations. A GIF of a few KB can unpack to terabytes: the canvas is
// paid for once a frame.
const (
	maxFrames     = 3_000
	maxGIFPixels  = 1_500_000_000 // width × height × frames: some 10 s of one processor
	maxGIFSeconds = 120
)

// gifRungs are the sizes of animations that do not fit.
var gifRungs = []struct{ side, fps, colours int }{
	{480, 12, 128},
	{320, 10, 64},
	{240, 8, 32},
}

// animation fits GIF: one frame is a still.
func (j *job) animation(ctx context.Context) (outcome, error) {
	b, err := j.read()
	if err != nil {
		return outcome{}, err
	}
	cfg, err := measure(formatGIF.contentType, b)
	if err != nil {
		return outcome{}, err
	}
	stripped, m, err := stripGIF(b)
	if err != nil {
		return outcome{}, undecodable(err, "it is damaged or breaks off")
	}
	switch {
	case m.frames == 0:
		return outcome{}, rejected("it has no frame")
	case m.frames > maxFrames:
		return outcome{}, rejected("%d frames are over the limit of %d", m.frames, maxFrames)
	case m.pixels > maxGIFPixels:
		return outcome{}, rejected("%d frames of %d x %d pixels are over the limit of %d megapixels together", m.frames, cfg.Width, cfg.Height, maxGIFPixels/1_000_000)
	}
	j.say("GIF of %d octets, %d frames", len(b), m.frames)
	if j.fits() && max(cfg.Width, cfg.Height) <= j.profile.MaxSide {
		if err := j.readable(ctx, b); err != nil {
			return outcome{}, err
		}
		if !m.private {
			return j.untouched(), nil
		}
		return j.written(stripped, formatGIF, "metadata removed")
	}
	if m.frames > 1 && j.profile.AnimatedGIF != mediaprofile.GIFFirstFrame {
		if out, ok, err := j.moving(ctx, m, cfg.Width, cfg.Height); ok || err != nil {
			return out, err
		}
	}
	release, err := j.t.acquire(ctx, j.progress)
	if err != nil {
		return outcome{}, err
	}
	defer release()
	img, err := decode(formatGIF.contentType, b)
	if err != nil {
		return outcome{}, err
	}
	out, err := j.encodeStill(ctx, onCanvas(img, cfg.Width, cfg.Height), meta{orientation: 1})
	if m.frames > 1 {
		out.rung = "first frame, " + out.rung
	}
	return out, err
}

// readable unpacks the first frame, when it has a place for that.
func (j *job) readable(ctx context.Context, b []byte) error {
	release, err := j.t.acquire(ctx, j.progress)
	if err != nil {
		return err
	}
	defer release()
	_, err = decode(formatGIF.contentType, b)
	return err
}

// onCanvas puts a frame where it belongs: it may cover a part of the picture alone.
func onCanvas(frame image.Image, w, h int) image.Image {
	all := image.Rect(0, 0, w, h)
	if frame.Bounds() == all {
		return frame
	}
	out := image.NewRGBA(all)
	draw.Draw(out, frame.Bounds(), frame, frame.Bounds().Min, draw.Src)
	return out
}

// moving keeps an animation moving; not ok: it cannot within the share.
func (j *job) moving(ctx context.Context, m meta, w, h int) (out outcome, ok bool, err error) {
	seconds := float64(m.centis) / 100
	// Browsers and ffmpeg show a frame without a time for a tenth of a second.
	if least := float64(m.frames) / 50; seconds < least {
		seconds = float64(m.frames) / 10
	}
	if j.profile.AnimatedGIF == mediaprofile.GIFVideo {
		p, err := j.probe(ctx, sourceName, formatGIF.demuxer)
		if err != nil {
			return outcome{}, false, err
		}
		if err := p.sound(); err != nil {
			return outcome{}, false, err
		}
		if p.seconds() > 0 {
			seconds = p.seconds()
		}
		out, err := j.video(ctx, source{probe: p, name: sourceName, demuxer: formatGIF.demuxer, seconds: seconds})
		return out, true, err
	}
	if seconds > maxGIFSeconds || !j.profile.Takes(formatGIF.contentType) {
		return outcome{}, false, nil
	}
	return j.smallerGIF(ctx, w, h)
}

// smallerGIF goes down the rungs. The palette is made in a run of its own, for in
// one graph all frames would have to wait in memory for it.
func (j *job) smallerGIF(ctx context.Context, w, h int) (outcome, bool, error) {
	const name = "made.gif"
	limit := j.limit(formatGIF)
	for i, r := range gifRungs {
		gw, gh := fitSide(w, h, min(r.side, j.profile.MaxSide))
		// A smaller picture of as many colours does not shrink more than its pixels do, and
		// some; a rung that is far out of reach is not tried.
		if i < len(gifRungs)-1 && float64(j.part.Size)*float64(gw*gh)/float64(w*h)/4 > float64(limit) {
			continue
		}
		j.say("GIF, %d x %d, %d/s, %d colours", gw, gh, r.fps, r.colours)
		filter := fmt.Sprintf("fps=%d,scale=%d:%d:flags=lanczos", r.fps, gw, gh)
		from := slices.Concat(global, decoding(formatGIF.demuxer), []string{"-i", sourceName})
		if _, err := j.run(ctx, ffmpeg, slices.Concat(from, []string{"-filter_complex", "[0:v:0]" + filter + fmt.Sprintf(",palettegen=max_colors=%d", r.colours),
			"-frames:v", "1", "-c:v", "png", "-f", "image2", "-update", "1", "palette.png"})...); err != nil {
			return outcome{}, false, err
		}
		if _, err := j.run(ctx, ffmpeg, slices.Concat(from, []string{"-protocol_whitelist", "file,pipe", "-format_whitelist", "png_pipe", "-f", "png_pipe", "-i", "palette.png",
			"-filter_complex", "[0:v:0]" + filter + "[x];[x][1:v:0]paletteuse=dither=bayer"}, tidy, []string{"-loop", "0", "-f", "gif", name})...); err != nil {
			return outcome{}, false, err
		}
		b, err := os.ReadFile(j.in(name))
		if err != nil {
			return outcome{}, false, undecodable(err, "nothing of it could be converted")
		}
		if _, m, err := stripGIF(b); err != nil || m.frames == 0 {
			return outcome{}, false, undecodable(err, "nothing of it could be converted")
		}
		if int64(len(b)) <= limit {
			return j.made(name, formatGIF, "GIF, %d x %d, %d/s, %d colours", gw, gh, r.fps, r.colours), true, nil
		}
	}
	return outcome{}, false, nil
}
