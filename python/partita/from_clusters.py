"""Rows taken from a Ray or Dask cluster, without passing through this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .dataset import Dataset
from .to_clusters import rows_of_kind

if TYPE_CHECKING:
    import dask.dataframe


def from_ray(data: Any, *, name: str | None = None) -> Dataset:
    """Rows in the object store of the Ray cluster that this program is connected to.

    Each block is a partition, in the order of the blocks; the engine `ray` reads it in the store of the node where its
    task runs, without a copy when it is there. The local engine gets one block at a time. This process sees counts and
    columns alone.

    A run resumes for as long as the same objects live: a program that makes them anew has other rows, as far as
    Partita can tell.

    Args:
        data: A `ray.data.Dataset` (computed now, where it is not), or a list of references to Arrow tables.
        name: The step's name.

    Raises:
        UserError: There is no connection to a cluster, or the blocks have no common columns.

    Example:
        >>> import ray  # doctest: +SKIP
        >>> rows = ray.data.range(1000)  # doctest: +SKIP
        >>> pt.from_ray(rows).filter("id >= 998").take(9)  # doctest: +SKIP
        [{'id': 998}, {'id': 999}]
    """
    return Dataset(rows_of_kind("ray").node_of(data, name))


def from_dask(frame: dask.dataframe.DataFrame, *, name: str | None = None) -> Dataset:
    """Rows of a Dask DataFrame; each of its partitions is a partition, in their order.

    With a `distributed.Client` the partitions are computed on its workers now, stay there as Arrow tables, and are
    read from there by the engine `dask`, or one at a time by the local engine. Without one they are computed in this
    process: once for their counts, and again when they are read. An index that has a name becomes a column.

    A run resumes for as long as the same partitions live.

    Args:
        frame: The frame.
        name: The step's name.

    Raises:
        UserError: It is no Dask DataFrame, or its partitions have no common columns.

    Example:
        >>> import dask.dataframe, pandas
        >>> frame = dask.dataframe.from_pandas(pandas.DataFrame({"a": [1, 2, 3]}), npartitions=2)
        >>> pt.from_dask(frame).filter("a > 1").take(9)
        [{'a': 2}, {'a': 3}]
    """
    return Dataset(rows_of_kind("dask").node_of(frame, name))
