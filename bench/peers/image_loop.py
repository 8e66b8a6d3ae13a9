"""The loop one writes by hand: urls.parquet OUT parquet|webdataset. A thread pool that gets, decodes at a JPEG scale (Pillow's draft),
crops, box-resizes and encodes; results are written as they come, in order, without holding more than a few."""

import collections
import concurrent.futures
import io
import json
import os
import sys
import tarfile
import time

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from http_get import get

SIDE = 256
THREADS = 8


def pixels(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    width, height = image.size
    side = min(width, height)
    target = (-(-width * SIDE // side), -(-height * SIDE // side))
    image.draft("RGB", target)  # 1/2, 1/4 or 1/8 where the result stays at least as large as the target
    image = image.convert("RGB")
    scaled_width, scaled_height = image.size
    x, y = scaled_width / width, scaled_height / height
    left, top = (width - side) / 2, (height - side) / 2
    box = (left * x, top * y, (left + side) * x, (top + side) * y)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)


def convert(url: str) -> bytes:
    out = io.BytesIO()
    pixels(get(url)).save(out, "JPEG", quality=95)
    return out.getvalue()


def in_order(urls, pool):
    waiting = collections.deque()
    for url in urls:
        waiting.append((url, pool.submit(convert, url)))
        if len(waiting) >= 8 * THREADS:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def main() -> None:
    urls_file, out, output_format = sys.argv[1:4]
    start = time.perf_counter()
    urls = pq.read_table(urls_file, columns=["url"])["url"].to_pylist()
    os.makedirs(out, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        rows = in_order(urls, pool)
        if output_format == "parquet":
            schema = pa.schema([("url", pa.string()), ("image", pa.binary())])
            with pq.ParquetWriter(f"{out}/part.parquet", schema, compression="snappy", use_dictionary=False) as writer:
                batch = []
                for row in rows:
                    batch.append(row)
                    if len(batch) == 250:
                        writer.write_table(pa.table([*map(list, zip(*batch, strict=True))], schema=schema))
                        batch = []
                if batch:
                    writer.write_table(pa.table([*map(list, zip(*batch, strict=True))], schema=schema))
        else:
            with tarfile.open(f"{out}/shard.tar", "w") as tar:
                for url, image in rows:
                    member = tarfile.TarInfo(url.rsplit("/", 1)[1])
                    member.size = len(image)
                    tar.addfile(member, io.BytesIO(image))
    print(json.dumps({"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
