package transcode

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/mediaprofile"
)

// maxStreams bounds the streams of a file that is looked at.
const maxStreams = 16

// decoders are the only ones that ffmpeg may use: what phones, browsers and
// recorders make. The many others have had less of the world's attention. Subtitles are
// never decoded, but a file that has some is not looked at without their names.
const decoders = "h264,hevc,mpeg4,h263,vp8,vp9,libvpx-vp9,av1,libdav1d,mjpeg,gif,png,rawvideo,prores," +
	"aac,mp3,mp3float,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,opus,libopus,vorbis,flac,alac," +
	"pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,pcm_u8,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw,adpcm_ima_wav,adpcm_ms,gsm_ms," +
	"ass,mov_text,srt,ssa,subrip,text,webvtt"

// input is what precedes the name of an input file: the demuxer is named, not
// guessed; nothing but files of this directory is opened, by no other demuxer
// either, for a list of files is a file as well; and neither pictures nor the
// search for streams grow without end. MOV's references to other files are off
// unless asked for.
func input(demuxer string) []string {
	return []string{"-protocol_whitelist", "file,pipe", "-format_whitelist", demuxer, "-f", demuxer,
		"-probesize", "5000000", "-analyzeduration", "10000000", "-max_streams", strconv.Itoa(maxStreams)}
}

// decoding is added for whoever decodes, too.
func decoding(demuxer string) []string {
	return slices.Concat(input(demuxer), []string{"-codec_whitelist", decoders, "-max_pixels", strconv.Itoa(maxPixels)})
}

// probe is what ffprobe says of a file.
type probe struct {
	Streams []stream `json:"streams"`
	Format  struct {
		Duration string            `json:"duration"`
		BitRate  string            `json:"bit_rate"`
		Tags     map[string]string `json:"tags"`
	} `json:"format"`
}

type stream struct {
	Type      string `json:"codec_type"`
	Codec     string `json:"codec_name"`
	Width     int    `json:"width"`
	Height    int    `json:"height"`
	PixFmt    string `json:"pix_fmt"`
	Aspect    string `json:"sample_aspect_ratio"`
	FrameRate string `json:"avg_frame_rate"`
	Duration  string `json:"duration"`
	Channels  int    `json:"channels"`
	SideData  []struct {
		Rotation float64 `json:"rotation"`
	} `json:"side_data_list"`
	Disposition struct {
		AttachedPicture int `json:"attached_pic"`
	} `json:"disposition"`
	Tags map[string]string `json:"tags"`
}

// probe looks at a file of the job's directory. An error of the content means
// that it cannot be read as what it should be.
func (j *job) probe(ctx context.Context, name, demuxer string) (probe, error) {
	args := slices.Concat([]string{"-hide_banner", "-v", "error"}, decoding(demuxer),
		[]string{"-show_format", "-show_streams", "-of", "json", "-i", name})
	out, err := j.run(ctx, ffprobe, args...)
	if err != nil {
		return probe{}, err
	}
	var p probe
	if err := json.Unmarshal(out, &p); err != nil {
		return probe{}, undecodable(err, "what it holds cannot be told")
	}
	return p, nil
}

// first is the first stream of a type that is not the cover of a song; nil: there
// is none.
func (p *probe) first(kind string) *stream {
	for i, s := range p.Streams {
		if s.Type == kind && s.Disposition.AttachedPicture == 0 {
			return &p.Streams[i]
		}
	}
	return nil
}

// seconds is how long the file plays; 0: it does not say.
func (p *probe) seconds() float64 {
	longest := number(p.Format.Duration)
	if longest > 0 {
		return longest
	}
	for _, s := range p.Streams {
		longest = max(longest, number(s.Duration))
	}
	return longest
}

// number reads what ffprobe writes of a number; unreadable, negative and endless is 0.
func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0
	}
	return v
}

// ratio reads n/d or n:d; 0: unreadable.
func ratio(s string) float64 {
	n, d, ok := strings.Cut(strings.ReplaceAll(s, ":", "/"), "/")
	if !ok || number(d) == 0 {
		return 0
	}
	return number(n) / number(d)
}

// display is the size as it is to be seen: square pixels, turned upright.
func (s *stream) display() (w, h int) {
	w, h = s.Width, s.Height
	if r := ratio(s.Aspect); r > 0.1 && r < 10 {
		w = int(float64(w)*r + 0.5)
	}
	for _, d := range s.SideData {
		if turns := int(math.Round(d.Rotation / 90)); turns%2 != 0 {
			w, h = h, w
		}
	}
	return max(w, 1), max(h, 1)
}

// harmless are the tags that say nothing of the one who made the file.
var harmless = []string{"major_brand", "minor_version", "compatible_brands", "encoder", "handler_name", "vendor_id", "language", "creation_time", "duration", "timecode"}

// private reports what is to be removed before a file is sent on: tags, such as
// where it was recorded, and streams beyond one of video and one of sound, in
// which cameras put their track. creation_time counts: it is when it was
// recorded.
func (p *probe) private() bool {
	tagged := func(tags map[string]string) bool {
		for k, v := range tags {
			k, _, _ = strings.Cut(strings.ToLower(k), "-")
			if !slices.Contains(harmless, k) || k == "creation_time" && !strings.HasPrefix(v, "1904") {
				return true
			}
		}
		return false
	}
	kinds := map[string]int{}
	for _, s := range p.Streams {
		kinds[s.Type]++
		if tagged(s.Tags) || s.Disposition.AttachedPicture == 1 || kinds[s.Type] > 1 || s.Type != "video" && s.Type != "audio" {
			return true
		}
	}
	return tagged(p.Format.Tags)
}

// sound judges a source by the bounds on all of them.
func (p *probe) sound() error {
	v := p.first("video")
	if v == nil && p.first("audio") == nil {
		return rejected("it holds neither video nor sound that can be read")
	}
	if v != nil {
		if err := checkSize(v.Width, v.Height); err != nil {
			return err
		}
	}
	if s := p.seconds(); s > mediaprofile.MaxSeconds {
		return rejected("%s are over the limit of %d s", duration(s), mediaprofile.MaxSeconds)
	}
	return nil
}

func duration(seconds float64) string {
	return (time.Duration(seconds*10) * time.Second / 10).String()
}

// layoutOf walks the boxes of a file of the job's directory.
func (j *job) layoutOf(name string) (whole, indexFirst bool, err error) {
	f, err := os.Open(j.in(name))
	if err != nil {
		return false, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, false, err
	}
	return boxes(func(at int64, b []byte) error {
		_, err := f.ReadAt(b, at)
		if err == io.EOF {
			err = nil
		}
		return err
	}, info.Size())
}
