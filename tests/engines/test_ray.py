"""What only Ray has: placement groups, GPUs, runtime environments, an object store that spills, Ray Client."""

from programs import run_program

BEFORE = """
import os, sys
import ray
import partita as pt

pt.options.progress = "never"

def where(batch):
    import os, socket
    n = len(batch["id"])
    return {"host": [socket.gethostname()] * n, "gpus": [os.environ.get("CUDA_VISIBLE_DEVICES", "")] * n}

def job(out, **more):
    ds = pt.range(400, rows_per_partition=20)
    ds = ds.map_batches(where, batch_size=10, schema="host: string, gpus: string", **more)
    ds.write_jsonl(out, engine="ray")

"""
CONNECT = 'ray.init(logging_level="error", log_to_driver=False)\n'


def run(cluster, workspace, body, connect=CONNECT, seconds=120):
    return run_program(cluster, workspace, BEFORE + connect + body, seconds)


def rows(workspace, folder="out"):
    found = workspace.dataset(folder).rows()
    assert len(found) == 400
    return found


def test_a_program_in_a_placement_group_works_in_its_bundles(ray_cluster, workspace):
    """The group has one processor of the second node, and one for the program: the head's other one is left alone."""
    node = ray_cluster.others[0]
    slots = run(
        ray_cluster,
        workspace,
        f"""
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
there = next(n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeManagerAddress"] == {node.address!r})
mark = next(k for n in ray.nodes() if n["NodeID"] == there for k in n["Resources"] if k.startswith("node:"))
group = placement_group([{{"CPU": 1, "node:{ray_cluster.head.address}": 0.01}}, {{"CPU": 1, mark: 0.01}}])
ray.get(group.ready(), timeout=60)

@ray.remote(num_cpus=1)
class Program:
    def run(self):
        os.chdir({str(workspace.path)!r})
        from partita.engines import ray as engine
        opened = []
        look = engine.places
        engine.places = lambda wanted: opened.append(found := look(wanted)) or found
        job("out")
        return sorted((place.address, place.cpus) for place in opened[0])

inside = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
answer(ray.get(Program.options(scheduling_strategy=inside).remote().run.remote()))
""",
    )
    assert slots == [[node.address, 1]]
    assert {row["host"] for row in rows(workspace)} == {node.name}


def test_no_node_has_the_gpus(ray_cluster, workspace):
    said = run(
        ray_cluster,
        workspace,
        """
try:
    job("out", num_gpus=1)
except pt.RunEnvironmentError as error:
    answer(str(error))
""",
    )
    assert "GPUs" in said


def test_functions_that_ask_for_gpus_run_where_ray_has_some(ray_cluster, workspace):
    """Shares too: two functions that want half of one are given the same one."""
    ray_cluster.gpus = 2
    try:
        node = ray_cluster.add_node("gpus")
    finally:
        ray_cluster.gpus = 0
    run(ray_cluster, workspace, 'job("out", num_gpus=0.5, concurrency=2)\nanswer(0)')
    found = rows(workspace)
    assert {row["host"] for row in found} == {node.name}
    assert {row["gpus"] for row in found} <= {"0", "1"}
    assert len({row["gpus"] for row in found}) == 1, "Ray gave one"


def test_a_runtime_environment_ships_code_and_variables(ray_cluster, workspace):
    workspace.write("code/shipped.py", "import os\ndef word():\n    return os.environ['WORD']\n")
    words = run(
        ray_cluster,
        workspace,
        """
def use(batch):
    import shipped
    return {"word": [shipped.word()] * len(batch["id"])}

pt.range(40, rows_per_partition=5).map_batches(use, schema="word: string").write_jsonl("out", engine="ray")
answer(sorted({row["word"] for row in pt.read_jsonl("out").take(100)}))
""",
        connect='ray.init(runtime_env={"working_dir": "code", "env_vars": {"WORD": "carried"}}, log_to_driver=False)\n',
    )
    assert words == ["carried"]


def test_more_rows_than_the_object_stores_hold(ray_cluster, workspace):
    """480 MB handed over to two stores of 160 MiB: Ray spills, and they are read back from there."""
    counted = run(
        ray_cluster,
        workspace,
        """
text = pt.sql("repeat('0123456789', 100000)")
given = pt.range(480, rows_per_partition=12).with_columns(text=text).to_ray()
back = pt.from_ray(given).with_columns(size="length(text)").select("id", "size")
back.write_parquet("sizes", engine="ray")
sizes = pt.read_parquet("sizes").to_arrow()
answer([sizes.num_rows, sorted(set(sizes["size"].to_pylist())), sizes["id"].to_pylist() == list(range(480))])
""",
    )
    assert counted == [480, [1000000], True]


def test_through_ray_client(ray_cluster, workspace):
    body = f"""
pt.range(400, rows_per_partition=20).sort("id", descending=True).write_jsonl(
    "out", engine="ray://{ray_cluster.head.address}:10001"
)
answer(0)
"""
    # Ray's server needs seconds for each client, and half a minute for each that it does not reach: engines/ray.py asks again.
    run(ray_cluster, workspace, body, connect="", seconds=240)
    assert [row["id"] for row in rows(workspace)] == list(reversed(range(400)))
