"""Makes pictures that compress like photographs, the same on every machine: `pictures.py FOLDER COUNT SIZES [FIRST]`.

Each is a gradient of light with noise of many octaves (the spectrum of natural scenes falls with frequency), a few shaded shapes with soft
and hard edges, fine texture in parts, and text. SIZES is a list like 1024x768,768x1024 taken in turn, or `mixed` (about 1024x768).
"""

from __future__ import annotations

import multiprocessing
import pathlib
import sys

import cv2
import numpy as np

JPEG_QUALITY = 90
WORDS = [
    "light",
    "field",
    "river",
    "stone",
    "window",
    "market",
    "bridge",
    "summer",
    "paper",
    "garden",
    "street",
    "morning",
]


def octaves(rng: np.random.Generator, height: int, width: int, channels: int, roughness: float) -> np.ndarray:
    """Noise whose amplitude falls with frequency, in about -1 .. 1: doubled from a coarse grid, finer noise added each time."""
    cell, amplitude, total = 256, 1.0, 1.0
    shape = (height // cell + 2, width // cell + 2)
    out = rng.standard_normal((*shape, channels), dtype=np.float32)
    while cell > 1:
        cell //= 2
        amplitude *= roughness
        total += amplitude
        shape = (min(shape[0] * 2, height // cell + 2), min(shape[1] * 2, width // cell + 2))
        out = cv2.resize(out, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]].reshape(
            *shape, channels
        )
        out = out + amplitude * rng.standard_normal((*shape, channels), dtype=np.float32)
    return out[:height, :width] / total


def picture(index: int, width: int, height: int) -> np.ndarray:
    cv2.setNumThreads(1)
    rng = np.random.Generator(np.random.PCG64(index))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = ((x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle))[:, :, None]
    base = rng.uniform(85, 165, 1) + rng.uniform(-25, 25, 3)
    image = base.astype(np.float32) + ramp * rng.uniform(-50, 50, 3).astype(np.float32)
    shade = octaves(rng, height, width, 1, rng.uniform(0.60, 0.78))
    image += 140 * shade + 30 * octaves(rng, height, width, 3, 0.6)
    texture = octaves(rng, height, width, 1, 0.85)
    for _ in range(int(rng.integers(4, 12))):
        mask = np.zeros((height, width), np.float32)
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        size = max(4, int(rng.integers(min(width, height) // 16, min(width, height) // 3)))
        if rng.random() < 0.5:
            axes = (size, max(2, int(size * rng.uniform(0.3, 1))))
            cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
        else:
            points = np.array(centre) + rng.integers(-size, size + 1, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(mask, [points.astype(np.int32)], 1.0, cv2.LINE_AA)
        if rng.random() < 0.4:
            mask = cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(2, 8)))
        paint = rng.uniform(20, 235, 3).astype(np.float32) + 60 * shade
        if rng.random() < 0.3:
            paint = paint + np.float32(rng.uniform(0, 40)) * texture
        image += (0.85 * mask)[:, :, None] * (paint - image)
    image += rng.normal(0, rng.uniform(0.5, 3.0), 1).astype(np.float32) + np.float32(3.5) * rng.standard_normal(
        image.shape, dtype=np.float32
    )  # sensor
    image = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(0, 4))):
        text = " ".join(rng.choice(WORDS, int(rng.integers(1, 4))))
        at = (int(rng.integers(0, max(1, width // 2))), int(rng.integers(min(30, height - 1), height)))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        cv2.putText(
            image,
            text,
            at,
            cv2.FONT_HERSHEY_DUPLEX,
            float(rng.uniform(0.5, 2.0)) * min(width, height) / 768,
            colour,
            2,
            cv2.LINE_AA,
        )
    return image


def size_of(index: int, sizes: str) -> tuple[int, int]:
    if sizes == "mixed":  # shortest side 700 to 860, sides 1.2 to 1.5
        rng = np.random.Generator(np.random.PCG64(10_000_019 + index))
        short = int(rng.integers(700, 861))
        long = int(short * rng.uniform(1.2, 1.5))
        return (long, short) if rng.random() < 0.75 else (short, long)
    choices = sizes.split(",")
    width, height = choices[index % len(choices)].split("x")
    return int(width), int(height)


def make(job: tuple[str, int, str]) -> int:
    folder, index, sizes = job
    file = pathlib.Path(folder) / f"{index:06d}.jpg"
    if not file.exists():
        width, height = size_of(index, sizes)
        ok, data = cv2.imencode(".jpg", picture(index, width, height), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert ok
        part = file.with_suffix(".part")
        part.write_bytes(data.tobytes())
        part.rename(file)
    return file.stat().st_size


def main() -> None:
    folder, count, sizes = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(2) as pool:
        bytes_of = list(
            pool.imap_unordered(make, [(folder, i, sizes) for i in range(first, first + count)], chunksize=8)
        )
    print(
        f"{count} pictures, {sum(bytes_of) / count / 1e3:.0f} kB on average, {min(bytes_of) / 1e3:.0f} to {max(bytes_of) / 1e3:.0f}"
    )


if __name__ == "__main__":
    main()
