"""Compares pixels with a full decode, area resize and centre crop: `quality.py SOURCES PARTITA_OUT` prints a JSON object.

Three ways: Partita (its output, PNGs in Parquet), the hand-written loop (scaled decode and OpenCV's area resize). What img2dataset does is the
reference itself. No lossy encoder is in between.
"""

import json
import pathlib
import sys

import cv2
import image_codec
import image_loop
import numpy as np
import pyarrow.parquet as pq
from check_images import difference


def main() -> None:
    sources, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    ours = {}
    for file in sorted(out.glob("*.parquet")):
        table = pq.read_table(file, columns=["path", "bytes"], partitioning=None)
        for path, data in zip(table["path"].to_pylist(), table["bytes"].to_pylist(), strict=True):
            ours[pathlib.PurePath(path).name] = data
    found = {"partita": [], "python loop": []}
    worst = dict.fromkeys(found, (-1.0, "", 0))
    files = sorted(sources.glob("*.jpg"))
    for file in files:
        data = file.read_bytes()
        reference = image_codec.pixels(data)
        made = {
            "partita": cv2.imdecode(np.frombuffer(ours[file.name], np.uint8), cv2.IMREAD_COLOR),
            "python loop": image_loop.pixels(data),
        }
        for name, pixels in made.items():
            mean = difference(pixels, reference)
            most = int(cv2.absdiff(np.ascontiguousarray(pixels), reference).max())
            found[name].append(mean)
            worst[name] = max(worst[name], (mean, file.name, most))
    print(
        json.dumps(
            {
                "images": len(files),
                **{
                    name: {
                        "mean": round(float(np.mean(values)), 3),
                        "worst": round(worst[name][0], 3),
                        "worst_image": worst[name][1],
                        "largest_in_worst": worst[name][2],
                    }
                    for name, values in found.items()
                },
            }
        )
    )


if __name__ == "__main__":
    main()
