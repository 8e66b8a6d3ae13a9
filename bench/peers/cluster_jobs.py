"""A job on a cluster, driven from its head: `cluster_jobs.py JOB PROGRAM ADDRESS DATA OUT`. Prints its seconds.

The clock starts when the driver is connected and the programs are imported. Jobs: map, sort, group_by, join; tasks:N is N empty tasks.
"""

import json
import sys
import time


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
    start = time.perf_counter()
    if job.startswith("tasks:"):
        pt.range(4 * int(job[6:]), rows_per_partition=4).write_jsonl(out)
        return start
    facts = pt.read_parquet(data + "/facts")
    if job == "map":
        facts.filter("v < 0.9").select(key="key", k="k", w="v * 2 + k", text="text").write_parquet(out)
    elif job == "sort":
        facts.sort("key").write_parquet(out)
    elif job == "group_by":
        facts.group_by("k").agg(n="count()", s="sum(v)", m="max(v)").write_parquet(out)
    else:
        facts.join(pt.read_parquet(data + "/dims"), on="k").write_parquet(out)
    return start


def ray_data(job: str, address: str, data: str, out: str) -> float:
    import pyarrow.compute as pc
    import ray
    import ray.data
    from ray.data.aggregate import Count, Max, Sum

    ray.init(address=address.removeprefix("ray://"), logging_level="error")
    if job.startswith("tasks:"):

        @ray.remote(num_cpus=1)
        def own(run: str, key: int, tasks: tuple, exchanges: tuple) -> bytes:
            return b"x" * 700

        ray.get([own.remote("run", -1, ((0, 0),), ())] * 4)
        start = time.perf_counter()
        ray.get([own.remote("run", i, ((0, i),), ()) for i in range(int(job[6:]))])
        return start
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.range(2).materialize()  # workers are up
    start = time.perf_counter()
    facts = ray.data.read_parquet(data + "/facts")
    if job == "map":

        def work(table):
            table = table.filter(pc.less(table["v"], 0.9))
            w = pc.add(pc.multiply(table["v"], 2.0), table["k"])
            return table.set_column(2, "w", w)

        facts.map_batches(work, batch_format="pyarrow", batch_size=None, zero_copy_batch=True).write_parquet(out)
    elif job == "sort":
        facts.sort("key").write_parquet(out)
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
    facts = daft.read_parquet(data + "/facts/*.parquet")
    if job == "map":
        w = (col("v") * 2 + col("k")).alias("w")
        facts = facts.where(col("v") < 0.9).select(col("key"), col("k"), w, col("text"))
    elif job == "sort":
        facts = facts.sort("key")
    elif job == "group_by":
        v = col("v")
        facts = facts.groupby("k").agg(v.count().alias("n"), v.sum().alias("s"), v.max().alias("m"))
    else:
        facts = facts.join(daft.read_parquet(data + "/dims/*.parquet"), on="k")
    facts.write_parquet(out)
    return start


def dask_dataframe(job: str, address: str, data: str, out: str) -> float:
    import dask
    import dask.dataframe as dd
    import distributed

    client = distributed.Client(address.replace("dask://", "tcp://"))
    if job.startswith("tasks:"):

        def own(run: str, key: int, tasks: tuple, exchanges: tuple) -> bytes:
            return b"x" * 700

        client.gather([client.submit(own, "run", -i, ((0, 0),), (), pure=False) for i in range(1, 5)])
        start = time.perf_counter()
        client.gather([client.submit(own, "run", i, ((0, i),), (), pure=False) for i in range(int(job[6:]))])
        return start
    dask.config.set({"dataframe.shuffle.method": "p2p"})
    client.run(lambda: __import__("dask.dataframe"))  # workers have imported it
    start = time.perf_counter()
    facts = dd.read_parquet(data + "/facts")
    if job == "map":
        facts = facts[facts.v < 0.9]
        facts = facts.assign(w=facts.v * 2 + facts.k).drop(columns="v")
    elif job == "sort":
        facts = facts.sort_values("key")
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
    print("\n" + json.dumps({"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main()
