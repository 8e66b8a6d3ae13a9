"""Where a Ray cluster takes workers: its nodes; for a program in a placement group, the group's bundles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, get_current_placement_group, placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

MEMORY_SHARE = 0.8  # of what Ray counts as a node's memory, which is without its object store


@dataclass(frozen=True)
class Place:
    """Room for one worker."""

    id: str
    address: str  # of its node
    cpus: int
    gpus: float
    memory_bytes: int  # 0: not known
    strategy: Any


def places(gpus_wanted: Sequence[tuple[float, int]]) -> list[Place]:
    """All that can run tasks whose functions want these GPUs: see `gpus_for`."""
    group = get_current_placement_group()
    found = _nodes() if group is None else _bundles(group)
    fitting = [(place, gpus_for(place.gpus, gpus_wanted)) for place in found if place.cpus >= 1]
    return [
        Place(place.id, place.address, place.cpus, gpus, place.memory_bytes, place.strategy)
        for place, gpus in fitting
        if gpus is not None
    ]


def gpus_for(have: float, wanted: Sequence[tuple[float, int]]) -> float | None:
    """What a worker asks of a place that has so many, where functions want (GPUs or a share of one, workers; 0: any).

    Ray names the GPUs that it gives to the worker's process, which hands them out to the functions' processes. None:
    the place has too few.
    """
    if not wanted:
        return 0
    if have < max(count for count, _ in wanted):
        return None
    if any(workers == 0 for _, workers in wanted):
        return have
    total = sum(count * workers for count, workers in wanted)
    return min(have, math.ceil(total) if total > 1 else total)


def _nodes() -> list[Place]:
    found = []
    for facts in ray.nodes():  # type: ignore[no-untyped-call]
        if facts["Alive"]:
            resources, node = facts["Resources"], facts["NodeID"]
            strategy = NodeAffinitySchedulingStrategy(node, soft=False)
            found.append(_place(node, facts["NodeManagerAddress"], resources, resources.get("memory", 0), strategy))
    return found


def _bundles(group: PlacementGroup) -> list[Place]:
    """Each with what the program itself leaves free of it, and its share of the node's memory."""
    table = placement_group_table(group)
    nodes = {facts["NodeID"]: facts for facts in ray.nodes() if facts["Alive"]}  # type: ignore[no-untyped-call]
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    found = []
    for index, bundle in table["bundles"].items():
        node = nodes.get(table["bundles_to_node_id"].get(index, ""))
        if node is None:
            continue
        left = {
            kind: min(bundle.get(kind, 0), free.get(f"{kind}_group_{index}_{group.id.hex()}", 0))
            for kind in ("CPU", "GPU")
        }
        of_node = node["Resources"]
        share = left["CPU"] / max(1, of_node.get("CPU", 1))
        memory = bundle.get("memory", 0) or of_node.get("memory", 0) * share
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=int(index))
        found.append(_place(f"{group.id.hex()}-{index}", node["NodeManagerAddress"], left, memory, strategy))
    return found


def _place(name: str, address: str, resources: dict[str, float], memory_bytes: float, strategy: Any) -> Place:
    cpus, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0)
    return Place(name, address, cpus, gpus, int(memory_bytes * MEMORY_SHARE), strategy)
