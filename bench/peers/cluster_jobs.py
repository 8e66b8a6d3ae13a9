"""A job on a cluster, driven from its head: `cluster_jobs.py JOB PROGRAM ADDRESS DATA OUT`. Prints its seconds.

The clock starts when the driver is connected and each program has been at work on the nodes once. Jobs: image, map,
sort, shuffle, group_by, join; tasks:N:MS is N tasks that use a processor for so many milliseconds each; stages:N:MS the same and a shuffle. limits:CALLS:HELD tells what the
engine's own calls and references cost.
"""

import json
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def sizes(job: str) -> tuple[int, float]:
    """N and seconds of tasks:N:MS."""
    _, count, ms = job.split(":")
    return int(count), float(ms) / 1e3


def memory_bytes() -> int:
    """Anonymous memory of this process."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) << 10


def limits_of_ray(calls: int, held: int) -> dict:
    """Calls of an actor a node, 64 under way, as Partita's driver makes them; references to small results that are kept."""
    import ray

    @ray.remote(num_cpus=1, max_concurrency=10, scheduling_strategy="SPREAD")
    class Worker:
        def run(self, tasks: tuple, exchanges: dict, outputs: tuple = ()) -> list[bytes]:
            return [b"x" * 700]

    workers = [Worker.remote() for _ in range(2)]
    ray.get([w.run.remote(((0, 0),), {}) for w in workers * 100])
    waiting: list = []
    began, cpu = time.perf_counter(), time.process_time()
    for i in range(calls):
        waiting.append(workers[i % 2].run.options(name="a > b").remote(((0, i),), {}))
        if len(waiting) == 64:
            ready, waiting = ray.wait(waiting, num_returns=32)
            ray.get(ready)
    ray.get(waiting)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    del waiting
    before = memory_bytes()
    kept = [workers[i % 2].run.remote(((0, i),), {}) for i in range(held)]
    ray.get(kept[-1])
    ray.wait(kept, num_returns=len(kept))
    grown = memory_bytes() - before
    return {
        "seconds": seconds,
        "calls_s": calls / seconds,
        "driver_us": cpu / calls * 1e6,
        "scheduler_us": 0.0,  # a call of an actor passes none
        "driver_bytes": grown / held,
        "scheduler_bytes": 0.0,
    }


def limits_of_dask(client, calls: int, held: int) -> dict:
    """Tasks, 64 under way; futures that are kept."""
    import distributed

    def run(tasks: tuple, exchanges: tuple) -> list[bytes]:
        return [b"x" * 700]

    def of_scheduler(dask_scheduler=None) -> tuple[float, int]:
        with open("/proc/self/status") as file:
            return time.process_time(), next(int(x.split()[1]) for x in file if x.startswith("RssAnon")) << 10

    client.gather([client.submit(run, ((0, -i),), (), pure=False) for i in range(1, 200)])
    before_s, _ = client.run_on_scheduler(of_scheduler)
    began, cpu = time.perf_counter(), time.process_time()
    waiting = distributed.as_completed()
    done = sent = 0
    while done < calls:
        while sent < min(calls, done + 64):
            waiting.add(client.submit(run, ((0, sent),), (), key=("a > b", sent), pure=False))
            sent += 1
        ended = waiting.next_batch()
        client.gather(ended)
        done += len(ended)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    after_s, scheduler_before = client.run_on_scheduler(of_scheduler)
    before = memory_bytes()
    kept = [client.submit(run, ((0, i),), (), pure=False) for i in range(held)]
    distributed.wait(kept)
    grown, scheduler_after = memory_bytes() - before, client.run_on_scheduler(of_scheduler)[1]
    return {
        "seconds": seconds,
        "calls_s": calls / seconds,
        "driver_us": cpu / calls * 1e6,
        "scheduler_us": (after_s - before_s) / calls * 1e6,
        "driver_bytes": grown / held,
        "scheduler_bytes": (scheduler_after - scheduler_before) / held,
    }


def convert_all(urls: list) -> list:
    """What the image job is, as its peers do it on one machine too: kept-alive connections, OpenCV."""
    import concurrent.futures

    sys.path.insert(0, HERE)
    import image_codec
    from http_get import get

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda url: image_codec.convert(get(str(url))), urls))


def partita(job: str, address: str, data: str, out: str) -> float:
    import partita as pt

    pt.options.engine = address
    pt.options.progress = "never"
    if address.startswith("ray"):
        import ray

        ray.init(address=address.removeprefix("ray://"), logging_level="error")
    else:
        import distributed

        distributed.Client(address.replace("dask://", "tcp://"))
        pt.options.engine = "dask"
    pt.range(2).write_jsonl(out + ".warm")  # workers are up and have imported it, as those of the others
    shutil.rmtree(out + ".warm")
    start = time.perf_counter()
    if job.startswith(("tasks:", "stages:")):
        count, seconds = sizes(job)
        rows = pt.range(4 * count, rows_per_partition=4)
        if seconds:

            def work(batch: dict) -> dict:
                ends = time.thread_time() + seconds
                while time.thread_time() < ends:
                    pass
                return batch

            rows = rows.map_batches(work, schema="id: int64", concurrency=2)
        if job.startswith("stages:"):
            rows = rows.random_shuffle(seed=1)
        rows.write_jsonl(out)
        return start
    if job == "image":
        # Pictures of one partition are downloaded at once: a dozen partitions keep two nodes busy to the end.
        urls = pt.read_parquet(data + "/urls.parquet", rows_per_partition=64)
        found = urls.apply("download_images", url="url", allow_private_addresses=True)
        found.apply("resize_images", size=256, mode="center_crop", encode_quality=95).write_parquet(out)
        return start
    facts = pt.read_parquet(data + "/facts")
    if job == "map":
        facts.filter("v < 0.9").select(key="key", k="k", w="v * 2 + k", text="text").write_parquet(out)
    elif job == "sort":
        facts.sort("key").write_parquet(out)
    elif job == "shuffle":
        facts.random_shuffle(seed=5).write_parquet(out)
    elif job == "group_by":
        facts.group_by("k").agg(n="count()", s="sum(v)", m="max(v)").write_parquet(out)
    else:
        facts.join(pt.read_parquet(data + "/dims"), on="k").write_parquet(out)
    return start


def ray_data(job: str, address: str, data: str, out: str) -> float | dict:
    import pyarrow.compute as pc
    import ray
    import ray.data
    from ray.data.aggregate import Count, Max, Sum

    ray.init(address=address.removeprefix("ray://"), logging_level="error")
    if job.startswith("limits:"):
        return limits_of_ray(*map(int, job.split(":")[1:]))
    if job.startswith("tasks:"):
        count, seconds = sizes(job)

        @ray.remote(num_cpus=1)
        def own(run: str, key: int, tasks: tuple, exchanges: tuple) -> bytes:
            ends = time.thread_time() + seconds
            while time.thread_time() < ends:
                pass
            return b"x" * 700

        ray.get([own.remote("run", -i, ((0, 0),), ()) for i in range(8)])
        start = time.perf_counter()
        ray.get([own.remote("run", i, ((0, i),), ()) for i in range(count)])
        return start
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.range(2).materialize()  # workers are up
    start = time.perf_counter()
    if job == "image":

        def convert(batch: dict) -> dict:
            return {**batch, "image": convert_all(batch["url"])}

        urls = ray.data.read_parquet(data + "/urls.parquet", override_num_blocks=16)
        urls.map_batches(convert, batch_size=64).write_parquet(out)
        return start
    facts = ray.data.read_parquet(data + "/facts")
    if job == "map":

        def work(table):
            table = table.filter(pc.less(table["v"], 0.9))
            w = pc.add(pc.multiply(table["v"], 2.0), table["k"])
            return table.set_column(2, "w", w)

        facts.map_batches(work, batch_format="pyarrow", batch_size=None, zero_copy_batch=True).write_parquet(out)
    elif job == "sort":
        facts.sort("key").write_parquet(out)
    elif job == "shuffle":
        facts.random_shuffle(seed=5).write_parquet(out)
    elif job == "group_by":
        found = facts.groupby("k").aggregate(Count(alias_name="n"), Sum("v", alias_name="s"), Max("v", alias_name="m"))
        found.write_parquet(out)
    else:
        facts.join(ray.data.read_parquet(data + "/dims"), "inner", num_partitions=4, on=("k",)).write_parquet(out)
    return start


def daft(job: str, address: str, data: str, out: str) -> float:
    import daft
    import ray
    from daft import col

    ray.init(address=address.removeprefix("ray://"), logging_level="error")
    daft.set_runner_ray(noop_if_initialized=True)
    daft.from_pydict({"a": [1, 2]}).collect()  # workers are up
    start = time.perf_counter()
    if job == "image":

        @daft.func(return_dtype=daft.DataType.binary(), use_process=False)
        def convert(picture: bytes) -> bytes:
            sys.path.insert(0, HERE)
            import image_codec

            return image_codec.convert(picture)

        urls = daft.read_parquet(data + "/urls.parquet").into_batches(64)
        urls.with_column("image", convert(col("url").download(max_connections=32))).write_parquet(out)
        return start
    facts = daft.read_parquet(data + "/facts/*.parquet")
    if job == "map":
        w = (col("v") * 2 + col("k")).alias("w")
        facts = facts.where(col("v") < 0.9).select(col("key"), col("k"), w, col("text"))
    elif job == "sort":
        facts = facts.sort("key")
    elif job == "shuffle":
        facts = facts.sort(facts["key"].hash(5))
    elif job == "group_by":
        v = col("v")
        facts = facts.groupby("k").agg(v.count().alias("n"), v.sum().alias("s"), v.max().alias("m"))
    else:
        facts = facts.join(daft.read_parquet(data + "/dims/*.parquet"), on="k")
    facts.write_parquet(out)
    return start


def dask_dataframe(job: str, address: str, data: str, out: str) -> float | dict:
    import dask
    import dask.dataframe as dd
    import distributed

    client = distributed.Client(address.replace("dask://", "tcp://"))
    if job.startswith("limits:"):
        return limits_of_dask(client, *map(int, job.split(":")[1:]))
    if job.startswith("tasks:"):
        count, seconds = sizes(job)

        def own(run: str, key: int, tasks: tuple, exchanges: tuple) -> bytes:
            ends = time.thread_time() + seconds
            while time.thread_time() < ends:
                pass
            return b"x" * 700

        client.gather([client.submit(own, "run", -i, ((0, 0),), (), pure=False) for i in range(1, 9)])
        start = time.perf_counter()
        client.gather([client.submit(own, "run", i, ((0, i),), (), pure=False) for i in range(count)])
        return start
    dask.config.set({"dataframe.shuffle.method": "p2p"})
    client.run(lambda: __import__("dask.dataframe"))  # workers have imported it
    start = time.perf_counter()
    if job == "image":
        import pyarrow as pa

        urls = dd.read_parquet(data + "/urls.parquet").repartition(npartitions=16)
        found = urls.map_partitions(
            lambda part: part.assign(image=convert_all(part["url"])), meta=urls._meta.assign(image=b"")
        )
        schema = pa.schema([("url", pa.string()), ("key", pa.string()), ("image", pa.binary())])
        found.to_parquet(out, write_index=False, schema=schema)
        return start
    facts = dd.read_parquet(data + "/facts")
    if job == "map":
        facts = facts[facts.v < 0.9]
        facts = facts.assign(w=facts.v * 2 + facts.k).drop(columns="v")
    elif job == "sort":
        facts = facts.sort_values("key")
    elif job == "shuffle":
        from pandas.util import hash_pandas_object

        def hashed(part):
            return part.assign(h=hash_pandas_object(part["key"], index=False).astype("int64"))

        facts = facts.map_partitions(hashed).sort_values("h").drop(columns="h")
    elif job == "group_by":
        facts = facts.groupby("k").agg(n=("v", "size"), s=("v", "sum"), m=("v", "max"), split_out=4).reset_index()
    else:
        facts = facts.merge(dd.read_parquet(data + "/dims"), on="k")
    facts.to_parquet(out, write_index=False, compute_kwargs={"optimize_graph": True})
    return start


def main() -> None:
    job, program, address, data, out = sys.argv[1:]
    start = {"partita": partita, "ray_data": ray_data, "dask_dataframe": dask_dataframe, "daft": daft}[program](
        job, address, data, out
    )
    told = start if isinstance(start, dict) else {"seconds": time.perf_counter() - start}
    print("\n" + json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
