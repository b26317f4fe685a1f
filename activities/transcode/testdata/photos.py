# The pictures that ffmpeg cannot write; run by hand in this folder after make.sh. Needs Pillow.
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
