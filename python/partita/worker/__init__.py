"""What runs in worker processes: a user's function on batches that come through shared memory.

Stands on its own: a worker needs NumPy and pyarrow, never the rest of the package. `components/python/` is its other
half; the messages between them are described in `docs/decisions/0009-python-steps.md`.
"""
