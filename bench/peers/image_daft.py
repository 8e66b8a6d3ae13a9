"""Daft: urls.parquet OUT native|udf. Downloads with its own downloader, writes with write_parquet.

native: its image expressions; they cannot set a JPEG quality, so it is not the same work. Square crop first, then resize: the same picture.
udf: its downloader and a function that does what img2dataset does, with OpenCV.
"""

import json
import sys
import time

import daft
import image_codec
from daft import col


@daft.func(return_dtype=daft.DataType.binary(), use_process=False)
def convert(data: bytes) -> bytes:
    return image_codec.convert(data)


@daft.func(return_dtype=daft.DataType.binary(), use_process=True)
def convert_in_process(data: bytes) -> bytes:
    return image_codec.convert(data)


def main() -> None:
    urls, out, variant = sys.argv[1:4]
    start = time.perf_counter()
    frame = daft.read_parquet(urls).into_batches(64)
    frame = frame.with_column("image", col("url").download(max_connections=32))
    if variant == "native":
        from daft import functions as f

        frame = frame.with_column("image", f.decode_image(col("image"), mode="RGB"))
        frame = frame.with_column("w", f.image_width(col("image")).cast(daft.DataType.int64()))
        frame = frame.with_column("h", f.image_height(col("image")).cast(daft.DataType.int64()))
        frame = frame.with_column("side", f.columns_min(col("w"), col("h")))
        left, top = (col("w") - col("side")) // 2, (col("h") - col("side")) // 2
        box = f.to_list(left, top, col("side"), col("side")).cast(
            daft.DataType.fixed_size_list(daft.DataType.uint32(), 4)
        )
        frame = frame.with_column("image", f.encode_image(f.resize(f.crop(col("image"), box), 256, 256), "JPEG"))
        frame = frame.select("url", "image")
    else:
        frame = frame.with_column("image", (convert if variant == "udf" else convert_in_process)(col("image")))
    rows = frame.write_parquet(out, compression="snappy")
    print(json.dumps({"seconds": time.perf_counter() - start, "files": len(rows)}))


if __name__ == "__main__":
    main()
