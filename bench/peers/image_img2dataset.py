"""img2dataset: urls.parquet OUT parquet|webdataset THREADS SHARD_ROWS. Two processes; its hash and EXIF columns are off, as in the others."""

import json
import sys
import time

import img2dataset

if __name__ == "__main__":
    urls, out, output_format, threads, shard_rows = sys.argv[1:6]
    start = time.perf_counter()
    img2dataset.download(
        url_list=urls,
        input_format="parquet",
        url_col="url",
        output_folder=out,
        output_format=output_format,
        image_size=256,
        resize_mode="center_crop",
        encode_quality=95,
        processes_count=2,
        thread_count=int(threads),
        number_sample_per_shard=int(shard_rows),
        compute_hash=None,
        extract_exif=False,
        enable_wandb=False,
    )
    print(json.dumps({"seconds": time.perf_counter() - start}))
