#!/bin/sh
# Makes the samples of this folder again, from nothing but generated pictures and tones. Needs ffmpeg,
# sox and heif-enc; those of photos.py need Python with Pillow. What it makes may differ by some
# octets from version to version of these, so it is run when a sample is wanted, not by the tests.
set -eu
cd "$(dirname "$0")"
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y -threads 1 "$@"; }
picture='testsrc2=size=320x240:rate=15'
tone='aevalsrc=0.3*sin(2*PI*(300+200*t)*t)|0.3*sin(2*PI*440*t):s=44100'

ff -f lavfi -i mandelbrot=size=800x600 -frames:v 1 -q:v 3 -f image2 -update 1 photo.jpg
ff -i photo.jpg -frames:v 1 -vf scale=200:150 photo.png
ff -i photo.jpg -frames:v 1 -vf scale=200:150,format=rgb48be deep.png
ff -f lavfi -i color=red@0.5:size=300x200,format=rgba -vf "geq=r=255:g=40:b=40:a='if(lt(hypot(X-150,Y-100),80),255,0)'" -frames:v 1 logo.png
ff -i photo.jpg -frames:v 1 -c:v libwebp -q:v 70 photo.webp
ff -i logo.png -frames:v 1 -c:v libwebp -lossless 1 logo.webp
ff -i photo.jpg -frames:v 1 -vf scale=160:120 photo.bmp
ff -i photo.jpg -frames:v 1 -vf scale=160:120 -compression_algo lzw photo.tif
heif-enc -q 50 photo.jpg -o photo.heic >/dev/null
heif-enc -A -q 50 photo.jpg -o photo.avif >/dev/null
ff -f lavfi -t 2 -i "$picture" -vf "split[a][b];[a]palettegen=max_colors=64[p];[b][p]paletteuse" animation.gif
ff -i photo.jpg -frames:v 1 -vf scale=100:75 still.gif

ff -f lavfi -t 2 -i "$picture" -f lavfi -t 2 -i "$tone" -c:v libx264 -pix_fmt yuv420p -b:v 200k -c:a aac -b:a 48k -ac 2 -movflags +faststart -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact clip.mp4
# As phones do: turned by a matrix, place and time in the metadata, the index at the end.
ff -i clip.mp4 -c copy -metadata location="+48.1371+011.5753/" -metadata creation_time=2026-01-02T03:04:05Z plain.mov
ff -display_rotation 90 -i plain.mov -c copy -map_metadata 0 clip.mov 2>/dev/null || ff -i plain.mov -c copy -map_metadata 0 -metadata:s:v rotate=90 clip.mov
rm plain.mov
ff -i clip.mp4 -c copy -metadata location="+48.1371+011.5753/" -metadata title=Holidays located.mp4
ff -f lavfi -t 2 -i "$picture" -f lavfi -t 2 -i "$tone" -c:v libx265 -x265-params log-level=none -pix_fmt yuv420p -b:v 150k -c:a aac -b:a 48k -tag:v hvc1 hevc.mp4
ff -f lavfi -t 2 -i "$picture" -f lavfi -t 2 -i "$tone" -c:v libvpx -b:v 150k -deadline realtime -c:a libopus -b:a 32k clip.webm
ff -f lavfi -t 2 -i "$picture" -c:v libvpx -b:v 150k -deadline realtime -f webm - | cat >live.webm # into a pipe: no length
ff -f lavfi -t 2 -i "$picture" -f lavfi -t 2 -i "$tone" -c:v mpeg4 -b:v 200k -c:a libmp3lame -b:a 48k clip.avi
ff -f lavfi -t 2 -i "$picture" -c:v libx264 -b:v 150k clip.mkv
# A varying rate: frames 4 to 20 of 30 are missing.
ff -f lavfi -t 2 -i "$picture" -vf "select='not(between(n,4,20))'" -vsync vfr -c:v libx264 -b:v 150k vfr.mp4

ff -f lavfi -t 2 -i "$tone" -ac 2 -ar 22050 tone.wav
ff -i tone.wav -c:a libmp3lame -b:a 48k -metadata title=Holidays tone.mp3
ff -i tone.wav -c:a aac -b:a 48k tone.m4a
ff -i tone.wav -c:a aac -b:a 48k -f adts tone.aac
ff -i tone.wav -c:a libopus -b:a 32k tone.ogg
ff -i tone.wav -ac 1 tone.flac
ff -i tone.wav -ac 1 -ar 8000 tone8.wav
sox -V1 tone8.wav -C 7 -t amr-nb tone.amr
rm tone8.wav
ff -f lavfi -t 2 -i "$picture" -vf scale=176:144 -c:v h263 -b:v 80k silent.3gp
ff -i silent.3gp -f amr -i tone.amr -c copy clip.3gp
rm silent.3gp
