"""Pictures and arrays as others write them, and what others read from them: tests/golden/file/* and file.safetensors, whose
tensors have the names of the files. Oracles: Pillow, NumPy, safetensors; the interlaced PNG is put together by hand."""
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageCms, ImageOps
from safetensors import __version__ as safetensors_version
from safetensors.numpy import save_file


def smooth(height, width, channels, seed):
    """A picture of slow waves, uint8 (h, w, c): what lossy formats keep well."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * rng.uniform(0.1, 0.4) + y * rng.uniform(0.1, 0.4) + rng.uniform(0, 6)) for _ in range(channels)]
    return np.uint8(np.round(127.5 + 110 * np.stack(waves, -1)))


def planes(picture, scale=255):
    a = np.asarray(picture, dtype=np.float64) / scale
    return np.ascontiguousarray((a[None] if a.ndim == 2 else a.transpose(2, 0, 1)).astype(np.float32))


def interlaced(a):
    """A uint16 RGB picture as PNG with Adam7 passes."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    raw = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = a[y0::dy, x0::dx]
        if part.size:
            raw += b"".join(b"\0" + row.astype(">u2").tobytes() for row in part)
    head = struct.pack(">IIBBBBB", a.shape[1], a.shape[0], 16, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def orientation(o):
    exif = Image.Exif()
    exif[0x0112] = o
    exif[0x010E] = "golden"
    return exif


def pngs(folder, want):
    rng = np.random.default_rng(1)
    deep = rng.integers(0, 65536, (11, 9, 3), dtype=np.uint16)
    (folder / "interlaced16.png").write_bytes(interlaced(deep))
    want["interlaced16.png"] = planes(deep, 65535)
    grey16 = rng.integers(0, 65536, (5, 6), dtype=np.uint16)
    Image.fromarray(grey16).save(folder / "grey16.png")
    want["grey16.png"] = planes(grey16, 65535)
    bits = Image.fromarray(rng.integers(0, 2, (7, 13), dtype=np.uint8) * 255).convert("1")
    bits.save(folder / "bits.png")
    want["bits.png"] = planes(bits.convert("L"))
    palette = Image.fromarray(rng.integers(0, 256, (8, 7, 3), dtype=np.uint8)).quantize(16)
    palette.save(folder / "palette.png", transparency=bytes([0, 128, 255, 7]))
    want["palette.png"] = planes(Image.open(folder / "palette.png").convert("RGBA"))
    for channels, mode in [(2, "LA"), (4, "RGBA")]:
        a = rng.integers(0, 256, (6, 5, channels), dtype=np.uint8)
        Image.fromarray(a, mode).save(folder / f"{mode.lower()}.png")
        want[f"{mode.lower()}.png"] = planes(a)
    for o in range(1, 9):
        a = Image.fromarray(rng.integers(0, 256, (2, 3, 3), dtype=np.uint8))
        a.save(folder / f"orient{o}.png", exif=orientation(o))
        want[f"orient{o}.png"] = planes(ImageOps.exif_transpose(Image.open(folder / f"orient{o}.png")))


def lossy(folder, want, icc):
    a = Image.fromarray(smooth(17, 23, 3, 2))
    a.save(folder / "progressive6.jpg", quality=85, progressive=True, exif=orientation(6), icc_profile=icc)
    Image.fromarray(smooth(9, 14, 1, 3)[..., 0]).save(folder / "grey.jpg", quality=90)
    Image.fromarray(smooth(10, 12, 4, 4), "CMYK").save(folder / "cmyk.jpg", quality=95)
    a.save(folder / "lossy.webp", quality=80, exif=orientation(3), icc_profile=icc)
    Image.fromarray(smooth(12, 10, 4, 5), "RGBA").save(folder / "alpha.webp", quality=80)
    Image.fromarray(smooth(6, 7, 4, 6), "RGBA").save(folder / "lossless.webp", lossless=True, exact=True)
    for name in ["progressive6.jpg", "grey.jpg", "cmyk.jpg", "lossy.webp", "alpha.webp", "lossless.webp"]:
        picture = ImageOps.exif_transpose(Image.open(folder / name))
        want[name] = planes(picture.convert("RGB") if picture.mode == "CMYK" else picture)
    frames = [Image.fromarray(smooth(4, 4, 3, s)) for s in (7, 8)]
    frames[0].save(folder / "animated.webp", save_all=True, append_images=frames[1:])


def arrays(folder, want):
    rng = np.random.default_rng(9)
    for name, dtype, shape in [("f2", "<f2", (3, 4)), ("f4", "<f4", (2, 3, 4)), ("f8big", ">f8", (5,)), ("u1", "u1", (2, 5, 6)),
                               ("u2big", ">u2", (4, 3)), ("u4", "<u4", (3,)), ("u8", "<u8", (3,)), ("i1", "i1", (7,)),
                               ("i2", "<i2", (2, 2)), ("i4big", ">i4", (3,)), ("i8", "<i8", (1, 3)), ("bool", "?", (3, 3)),
                               ("scalar", "<f4", ()), ("rank8", "<f4", (1, 2, 1, 2, 1, 2, 1, 2))]:
        a = (rng.standard_normal(shape) * 100).astype(dtype) if name != "bool" else rng.random(shape) < 0.5
        np.save(folder / f"{name}.npy", a)
        if a.ndim <= 4:
            want[f"{name}.npy"] = np.asarray(a).astype(np.float32)
    a = rng.standard_normal((3, 4, 5)).astype(np.float32)
    np.save(folder / "fortran.npy", np.asfortranarray(a))
    want["fortran.npy"] = a
    for version in [(2, 0), (3, 0)]:
        with open(folder / f"version{version[0]}.npy", "wb") as f:
            np.lib.format.write_array(f, a, version)
        want[f"version{version[0]}.npy"] = a
    special = np.array([65504, 6e-8, -0.0, np.inf, -np.inf, 1e-5], np.float16)
    np.save(folder / "half.npy", special)
    want["half.npy"] = np.nan_to_num(special.astype(np.float32), posinf=1e30, neginf=-1e30)
    for name, bad in [("complex", np.ones(2, complex)), ("records", np.zeros(2, [("a", "<f4"), ("b", "<i4")])),
                      ("empty", np.zeros((3, 0, 2), np.float32)), ("nan", np.array([[0, np.nan]], np.float32)),
                      ("hwc", np.zeros((20, 2, 3), np.float32)), ("long", np.zeros((2, 2), np.int64))]:
        np.save(folder / f"bad_{name}.npy", bad)


def resizes(want):
    a = np.random.default_rng(10).random((13, 17), dtype=np.float32)
    want["resize"] = a
    for w, h in [(17, 13), (34, 26), (5, 4), (40, 3), (1, 1), (16, 14)]:
        want[f"resize {w} x {h}"] = np.asarray(Image.fromarray(a).resize((w, h), Image.BICUBIC))


def make(out):
    folder = out / "file"
    folder.mkdir(exist_ok=True)
    want = {}
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pngs(folder, want)
    lossy(folder, want, icc)
    arrays(folder, want)
    resizes(want)
    want["icc"] = np.frombuffer(icc, np.uint8).astype(np.float32)
    versions = {"pillow": PIL.__version__, "numpy": np.__version__, "safetensors": safetensors_version}
    save_file(want, out / "file.safetensors", versions)
    rng = np.random.default_rng(11)
    save_file({"a.weight": rng.standard_normal((2, 3)).astype(np.float32), "b": np.ones((), np.float32),
               "c \u00e9": rng.standard_normal((1, 2, 3, 4)).astype(np.float32)}, folder / "plain.safetensors")
    save_file({"half": np.arange(5, dtype=np.float16), "double": np.arange(4, dtype=np.float64) / 3, "ids": np.arange(6),
               "mask": np.ones(3, bool), "single": np.full((2, 2), 7, np.float32)}, folder / "mixed.safetensors")
