# The pictures that ffmpeg cannot write; run by hand in this folder after make.sh. Needs Pillow.
import os
import subprocess

from PIL import Image

photo = Image.open("photo.jpg")

# As a phone writes it: lying on its side, with the place, the camera and a comment.
exif = Image.Exif()
exif[0x0112] = 6
exif[0x010F] = "Camera Works"
exif[0x8825] = {1: "N", 2: (48.0, 8.0, 13.0), 3: "E", 4: (11.0, 34.0, 31.0)}
photo.resize((400, 300)).save("phone.jpg", quality=80, exif=exif, comment=b"Holidays")

# For a printing press.
photo.resize((160, 120)).convert("CMYK").save("press.jpg", quality=80)

photo.resize((400, 300)).save("progressive.jpg", quality=80, progressive=True)

# An animated WebP, which neither Go's library nor Debian's ffmpeg reads.
photo.resize((80, 60)).save("animation.webp", save_all=True, append_images=[photo.transpose(Image.Transpose.ROTATE_180).resize((80, 60))], duration=200)


def turn(heic, angle):
    """Adds the property irot (ISO/IEC 23008-12 6.5.10: quarter turns, anticlockwise) to the one picture of a HEIF file, as phones write it."""

    def boxes(at, end):
        while at < end:
            size = int.from_bytes(heic[at:at + 4], "big")
            yield heic[at + 4:at + 8], at, at + size
            at += size

    def find(name, at, end):
        return next((a, e) for n, a, e in boxes(at, end) if n == name)

    def grow(at, by):
        heic[at:at + 4] = (int.from_bytes(heic[at:at + 4], "big") + by).to_bytes(4, "big")

    meta, meta_end = find(b"meta", 0, len(heic))
    iprp, iprp_end = find(b"iprp", meta + 12, meta_end)
    ipco, ipco_end = find(b"ipco", iprp + 8, iprp_end)
    ipma, ipma_end = find(b"ipma", iprp + 8, iprp_end)
    iloc, iloc_end = find(b"iloc", meta + 12, meta_end)
    properties = len(list(boxes(ipco + 8, ipco_end)))
    # iloc, version 0, as heif-enc writes it: four octets each of base, offset and length. What is put in moves the bases.
    assert heic[iloc + 8] == 0 and heic[iloc + 12:iloc + 14] == b"\x44\x40", heic[iloc:iloc_end].hex()
    at = iloc + 16
    for _ in range(int.from_bytes(heic[iloc + 14:iloc + 16], "big")):
        grow(at + 4, 10)
        at += 10 + 8 * int.from_bytes(heic[at + 8:at + 10], "big")
    # ipma, version 0: count, then id, number of properties, properties; the first is the picture.
    assert heic[ipma + 8] == 0 and heic[ipma + 11] == 0
    heic[ipma + 18] += 1
    last = ipma + 18 + heic[ipma + 18]
    heic[last:last] = bytes([0x80 | properties + 1])
    heic[ipco_end:ipco_end] = (9).to_bytes(4, "big") + b"irot" + bytes([angle])
    for at, by in ((ipco, 9), (ipma + 9, 1), (iprp, 10), (meta, 10)):
        grow(at, by)
    return heic


photo.resize((400, 300)).save("plain.jpg", quality=80, exif=exif)
subprocess.run(["heif-enc", "-q", "50", "plain.jpg", "-o", "phone.heic"], check=True)
os.remove("plain.jpg")
with open("phone.heic", "rb") as f:
    turned = turn(bytearray(f.read()), 3)
with open("phone.heic", "wb") as f:
    f.write(turned)
