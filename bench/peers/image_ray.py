"""Ray Data: urls.parquet OUT parquet|webdataset. Threads download a batch over kept-alive connections, OpenCV does what img2dataset does."""

import concurrent.futures
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def convert_batch(batch):
    sys.path.insert(0, HERE)
    import image_codec
    from http_get import get

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        batch["image"] = list(pool.map(lambda url: image_codec.convert(get(url)), [str(url) for url in batch["url"]]))
    return batch


def main() -> None:
    urls, out, output_format = sys.argv[1:4]
    import ray
    import ray.data

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2 << 30)
    ray.data.DataContext.get_current().enable_progress_bars = False
    start = time.perf_counter()
    data = ray.data.read_parquet(urls, override_num_blocks=16).map_batches(convert_batch, batch_size=64)
    if output_format == "parquet":
        data.write_parquet(out)
    else:
        keyed = data.map(lambda row: {"__key__": row["url"].rsplit("/", 1)[1].split(".")[0], "jpg": row["image"]})
        keyed.write_webdataset(out, encoder=None)  # bytes as they are
    print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
