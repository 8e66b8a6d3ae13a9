"""Checks an output of the image job: `check_images.py OUT COUNT SOURCES EVERY` prints a JSON object.

All rows: every image once, a JPEG of 256x256. Every EVERYth: pixels against a full decode, area resize and centre crop (`reference`), also
after the reference itself went through JPEG q95 (`encoded_reference`: its own distance from the reference is what the codec alone costs).
Differences are means of |a - b| over all pixels and channels, of 255.
"""

import io
import json
import pathlib
import sys
import tarfile

import cv2
import image_codec
import numpy as np
import pyarrow.parquet as pq
from PIL import Image


def images_of(out: pathlib.Path):
    """(number of the source, bytes) of every row, whatever program wrote it."""
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    for file in files:
        hidden = any(part.startswith((".", "_")) for part in file.relative_to(out).parts)
        if hidden or file.name.endswith("_stats.json"):
            continue
        if file.suffix == ".parquet":
            if out.joinpath(file.stem + ".tar").exists():
                continue  # img2dataset's index of a shard
            parts = pq.ParquetFile(file)
            name = "image" if "image" in parts.schema_arrow.names else "jpg"
            for batch in parts.iter_batches(256, columns=["url", name]):
                for url, image in zip(batch.column("url").to_pylist(), batch.column(name).to_pylist(), strict=True):
                    yield number_of(url), image
        elif file.suffix == ".tar":
            with tarfile.open(file) as tar:
                yield from images_of_tar(tar)


def images_of_tar(tar: tarfile.TarFile):
    waiting = {}
    for member in tar:
        key, _, extension = member.name.partition(".")
        data = tar.extractfile(member).read()
        waiting.setdefault(key, {})[extension] = data
    for key, members in waiting.items():
        about = json.loads(members["json"]) if "json" in members else {}
        yield number_of(about.get("url", key)), members["jpg"]


def number_of(url: str) -> int:
    return int(url.rsplit("/", 1)[-1].split(".")[0])


def reference_of(sources: pathlib.Path, count: int):
    """Reference pixels of all sources, made once."""
    file = sources.parent / f"{sources.name}-reference-{count}.npy"
    if not file.exists():
        part = file.with_suffix(".part")
        made = np.lib.format.open_memmap(part, "w+", np.uint8, (count, 256, 256, 3))
        for i in range(count):
            made[i] = image_codec.pixels((sources / f"{i:06d}.jpg").read_bytes())
        made.flush()
        part.rename(file)
    return np.load(file, mmap_mode="r")


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.absdiff(np.ascontiguousarray(a), np.ascontiguousarray(b)).mean())


def main() -> None:
    out, count, sources, every = (
        pathlib.Path(sys.argv[1]),
        int(sys.argv[2]),
        pathlib.Path(sys.argv[3]),
        int(sys.argv[4]),
    )
    reference = reference_of(sources, count)
    seen = np.zeros(count, np.int32)
    from_reference, from_encoded, codec = [], [], []
    worst = (0.0, -1)
    total_bytes = 0
    for number, data in images_of(out):
        seen[number] += 1
        total_bytes += len(data)
        if number % every:
            header = Image.open(io.BytesIO(data))
            assert header.size == (256, 256) and header.format == "JPEG", (
                f"image {number}: {header.format} {header.size}"
            )
            continue
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape == (256, 256, 3), f"image {number}: {pixels.shape}"
        encoded = cv2.imdecode(
            cv2.imencode(".jpg", reference[number], [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR
        )
        from_reference.append(difference(pixels, reference[number]))
        from_encoded.append(difference(pixels, encoded))
        codec.append(difference(encoded, reference[number]))
        worst = max(worst, (from_encoded[-1], number))
    assert (seen == 1).all(), f"{int((seen == 0).sum())} images are missing, {int((seen > 1).sum())} stand twice"
    report = {
        "images": count,
        "compared": len(codec),
        "mean_kb": round(total_bytes / count / 1e3, 1),
        "from_reference": round(float(np.mean(from_reference)), 3),
        "codec_alone": round(float(np.mean(codec)), 3),
        "from_encoded_reference": round(float(np.mean(from_encoded)), 3),
        "worst_from_encoded_reference": round(worst[0], 3),
        "worst_image": worst[1],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
