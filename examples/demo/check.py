"""Reads the demo's outputs back without Partita and says whether they agree. Exit code 1: they do not."""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq


def read_shards(folder: Path) -> dict[str, dict[str, bytes]]:
    """Samples by key: member bytes by extension."""
    samples: dict[str, dict[str, bytes]] = {}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                key, _, extension = member.name.partition(".")
                file = archive.extractfile(member)
                if file is not None:
                    samples.setdefault(key, {})[extension] = file.read()
    return samples


def is_whole_jpeg(image: bytes) -> bool:
    return image.startswith(b"\xff\xd8\xff") and image.endswith(b"\xff\xd9")


def caption(sample: dict[str, bytes]) -> str | None:
    return sample["txt"].decode() if "txt" in sample else None


def find_faults(work: Path) -> tuple[list[str], list[str]]:
    """What was checked, and what is wrong."""
    samples = read_shards(work / "shards")
    table = {row["key"]: row for row in pq.read_table(work / "table", partitioning=None).to_pylist()}
    sizes = {
        row["__key__"]: (row["width"], row["height"])
        for row in pq.read_table(work / "read_back", partitioning=None).to_pylist()
    }
    in_manifest = {
        name: json.loads((work / name / "_manifest.json").read_text())["num_rows"] for name in ("shards", "table")
    }
    checks = [
        (f"{len(samples)} samples in the shards, as the manifest says", len(samples) == in_manifest["shards"]),
        (f"{len(table)} rows in Parquet, as the manifest says", len(table) == in_manifest["table"]),
        ("the same keys in both", samples.keys() == table.keys()),
        ("the same images in both, byte for byte", all(s.get("jpg") == table[k]["image"] for k, s in samples.items())),
        ("the same captions in both", all(caption(s) == table[k]["caption"] for k, s in samples.items())),
        ("every sample has its metadata", all("json" in s for s in samples.values())),
        ("every image is a whole JPEG", all(is_whole_jpeg(s["jpg"]) for s in samples.values())),
        (
            "every image decodes, at the size that its row names",
            sizes == {key: (row["width"], row["height"]) for key, row in table.items()},
        ),
    ]
    return [text for text, good in checks if good], [text for text, good in checks if not good]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the demo's folder")
    good, bad = find_faults(parser.parse_args().work)
    for text in good:
        print(f"  ok    {text}")
    for text in bad:
        print(f"  WRONG {text}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
