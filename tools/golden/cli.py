"""Pictures of every kind for tests/cli, written by Pillow."""
import pathlib

import numpy as np
from PIL import Image, ImageCms


def make(out):
    out = pathlib.Path(out) / "cli"
    out.mkdir(parents=True, exist_ok=True)
    photo = Image.open(pathlib.Path(__file__).parents[2] / "examples/photos/chelsea.png").convert("RGB")
    small = photo.crop((110, 60, 302, 188)).resize((96, 64), Image.LANCZOS)
    small.save(out / "upright.png")
    small.convert("L").save(out / "grey.png")
    rgba = np.dstack([np.asarray(small), np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))])
    Image.fromarray(rgba, "RGBA").save(out / "alpha.png")
    grey = np.asarray(small.convert("L")).astype(np.float64)
    Image.fromarray((grey * 257 - 100 * (grey > 0)).astype(np.uint16)).save(out / "grey16.png")
    small.save(out / "photo.webp", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored picture is turned by 90 degrees clockwise when shown
    exif[0x013B] = "Ada Lovelace"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    small.transpose(Image.ROTATE_90).save(out / "oriented.jpg", quality=92, exif=exif, icc_profile=icc)
