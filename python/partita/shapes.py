"""The type of columns whose tensors differ in shape."""

from __future__ import annotations

import pyarrow as pa

from .errors import UserError


def variable_shape_tensor(value_type: str | pa.DataType, ndim: int) -> pa.DataType:
    """The type of a column of tensors of any shapes: Arrow's `arrow.variable_shape_tensor`.

    Functions get such a column as an object array of NumPy arrays, and may return a list of arrays for it.
    `pt.from_numpy` makes one of a list of arrays of different shapes.

    Args:
        value_type: Of the elements: a pyarrow type, or its name.
        ndim: Number of dimensions.

    Raises:
        UserError: `value_type` names no type, or there are no dimensions.

    Example:
        >>> import numpy as np
        >>> crops = pt.range(3).map_batches(
        ...     lambda batch: {"crop": [np.ones((int(i) + 1, 2), np.float32) for i in batch["id"]]},
        ...     schema={"crop": pt.variable_shape_tensor("float32", 2)},
        ... )
        >>> [crop.shape for batch in crops.iter_batches(batch_format='numpy') for crop in batch["crop"]]
        [(1, 2), (2, 2), (3, 2)]
    """
    from .worker.shapes import tensor_type

    try:
        found = pa.type_for_alias(value_type) if isinstance(value_type, str) else value_type
    except ValueError:
        raise UserError(f"there is no type {value_type!r}", hint="give one of pyarrow's, like 'float32'") from None
    if isinstance(ndim, bool) or not isinstance(ndim, int) or not 1 <= ndim <= 32:
        raise UserError(f"a tensor has 1 to 32 dimensions, not {ndim!r}")
    return tensor_type(found, ndim)
