"""Makes the demo's input: a folder for its web server, and a list of URLs in Parquet among which many must fail.

    prepare.py --pictures FOLDER --work out/demo

writes `<work>/www/` and `<work>/urls/`, and prints the port that the URLs name. The same pictures give the same files,
so that a second run has nothing left to do.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import struct
import sys
import zlib
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

DEFAULT_PORT = 18930
MOST_PICTURES = 5000  # the server keeps them in memory
FILES = 4  # of the URL list; a partition each
PICTURE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
SOUND_ENDINGS = {".ogg", ".wav"}
LANGUAGES = ["de", "es", "fr", "ja", "ar", "hi"]

# Where the server misbehaves, and how. The first two cost their whole time limit, so they come early.
HAZARDS = [
    ("/stall", "sends its header, then nothing"),
    ("/silent", "accepts the connection and says nothing"),
    ("/404", "has no such page"),
    ("/status/500", "fails, at every attempt"),
    ("/status/403", "forbids it"),
    ("/flaky/first-time?n=1&code=503", "is overloaded at first, then answers"),
    ("/truncated", "closes the connection half-way"),
    ("/truncated-chunked", "closes the connection inside a chunk"),
    ("/reset", "resets the connection"),
    ("/not-an-image", "answers with a web page"),
    ("/hazards/page.jpg", "calls a web page .jpg"),
    ("/hazards/half.png", "serves half of a PNG as if it were whole"),
    ("/hazards/bomb.png", "serves a PNG of 60,000 × 60,000 pixels in 1 kB"),
    ("/oversized", "announces 10 GiB"),
    ("/endless", "never stops sending"),
    ("/gzip-bomb", "sends a gzip that unpacks to 64 MiB"),
    ("/garbage", "does not speak HTTP"),
    ("/header-flood", "sends headers without end"),
    ("/redirect-loop", "redirects to itself"),
    ("/redirect-chain?n=9", "redirects nine times"),
    ("/redirect-file", "redirects to file:///etc/passwd"),
    ("/redirect-scheme", "redirects to ftp://"),
    ("/disallowed/picture.png", "forbids it in robots.txt"),
    ("/noai", "answers with X-Robots-Tag: noai"),
    ("/robots-tag?value=noimageindex", "answers with X-Robots-Tag: noimageindex"),
    ("http://127.0.0.1:1/picture.png", "does not exist"),
    ("ftp://example.invalid/picture.png", "is none of the web"),
    ("not a url at all", "is no URL"),
    (None, "is missing"),
]

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("key", pa.string()),
        ("category", pa.string()),
        ("caption", pa.string()),
        *((f"caption_{language}", pa.string()) for language in LANGUAGES),
        ("languages", pa.int32()),
        ("has_sound", pa.bool_()),
        ("hazard", pa.string()),
    ]
)


def find_pictures(folder: Path) -> list[Path]:
    """The pictures below a folder, in the order of their names."""
    found = [
        Path(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in PICTURE_ENDINGS
    ]
    found.sort(key=lambda path: path.as_posix())
    if len(found) > MOST_PICTURES:
        print(f"demo: taking the first {MOST_PICTURES} of {len(found)} pictures", file=sys.stderr)
    return found[:MOST_PICTURES]


def read_captions(picture: Path) -> dict[str, str]:
    """Captions by language from the text file beside a picture: English in the first line, then `xx.utf8=...`."""
    text_file = picture.with_suffix(".txt")
    if not text_file.is_file():
        return {"en": os.fsencode(picture.stem).decode(errors="replace").replace("_", " ").replace("-", " ")}
    lines = text_file.read_text(encoding="utf-8", errors="replace").splitlines()
    captions = {"en": lines[0].strip()} if lines and lines[0].strip() else {}
    for line in lines[1:]:
        if match := re.match(r"([A-Za-z_@]+)\.utf8=(.*\S)", line):
            captions[match[1]] = match[2].strip()
    return captions


def picture_row(picture: Path, folder: Path, base_url: str, sounds: set[str]) -> dict[str, object]:
    path = picture.relative_to(folder)
    captions = read_captions(picture)
    stem = path.with_suffix("").as_posix()
    return {
        "url": f"{base_url}/pictures/{quote(os.fsencode(path))}",
        "key": re.sub(r"[^A-Za-z0-9_-]+", "-", stem.replace("/", "--")),
        "category": path.parts[0] if len(path.parts) > 1 else "pictures",
        "caption": captions.get("en"),
        **{f"caption_{language}": captions.get(language) for language in LANGUAGES},
        "languages": len(captions),
        "has_sound": (folder / stem).as_posix() in sounds,
    }


def hazard_row(number: int, target: str | None, what: str, base_url: str) -> dict[str, object]:
    url = base_url + target if target is not None and target.startswith("/") else target
    return {"url": url, "key": f"hazard-{number:02d}", "category": "hazards", "caption": "no picture", "hazard": what}


def find_sounds(folder: Path) -> set[str]:
    """Pictures (paths without ending) that have a sound: `cat.ogg` or, spoken in German, `cat_desc_de.ogg`."""
    stems = {
        Path(where, name).with_suffix("").as_posix()
        for where, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SOUND_ENDINGS
    }
    return stems | {re.sub(r"_desc(_[A-Za-z_@]+)?$", "", stem) for stem in stems}


def make_keys_unique(rows: list[dict[str, object]]) -> None:
    """`cat.png` and `cat.jpg` become `cat` and `cat-2`."""
    seen: set[object] = set()
    for row in rows:
        key = first = row["key"]
        number = 1
        while key in seen:
            number += 1
            key = f"{first}-{number}"
        seen.add(key)
        row["key"] = key


def spread(pictures: list[dict[str, object]], hazards: list[dict[str, object]]) -> list[dict[str, object]]:
    """Both lists as one, the hazards at equal distances."""
    rows = list(pictures)
    step = max(1, (len(pictures) + len(hazards)) // max(1, len(hazards)))
    for i, hazard in enumerate(hazards):
        rows.insert(min(i * step, len(rows)), hazard)
    return rows


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def fill_www(www: Path, pictures: list[Path], folder: Path) -> None:
    """The server's folder: hard links to the pictures where they are possible, and the hazards that are files."""
    shutil.rmtree(www, ignore_errors=True)
    for picture in pictures:
        place = www / "pictures" / picture.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(picture.resolve(), place)
        except OSError:
            shutil.copyfile(picture, place)
    hazards = www / "hazards"
    hazards.mkdir(parents=True)
    (hazards / "page.jpg").write_bytes(b"<!doctype html><title>Not found</title>\n")
    signature = b"\x89PNG\r\n\x1a\n"
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 200, 200, 8, 2, 0, 0, 0))
    pixels = zlib.compress(b"".join(b"\0" + bytes((x * y) & 0xFF for x in range(600)) for y in range(200)))
    whole = signature + header + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    (hazards / "half.png").write_bytes(whole[: len(whole) // 2])
    huge = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = signature + huge + png_chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + png_chunk(b"IEND", b"")
    (hazards / "bomb.png").write_bytes(bomb)


def choose_port(remembered: Path) -> int:
    """A free port of the loopback interface: that of last time if it can be had, since the URLs name it."""
    wanted = [int(remembered.read_text())] if remembered.is_file() else []
    for port in [*wanted, DEFAULT_PORT, 0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            free: int = probe.getsockname()[1]
            remembered.write_text(f"{free}\n")
            return free
    raise SystemExit("demo: no free port on the loopback interface")


def write_urls(folder: Path, rows: list[dict[str, object]]) -> None:
    """Files that are right already are not touched: their time of change belongs to a run's snapshot."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    each = -(-len(rows) // FILES)
    for i in range(FILES):
        sink = pa.BufferOutputStream()
        pq.write_table(table.slice(i * each, each), sink)
        content = sink.getvalue().to_pybytes()
        place = folder / f"urls-{i}.parquet"
        if not place.is_file() or place.read_bytes() != content:
            place.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of PNG, JPEG and WebP files")
    parser.add_argument("--work", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    folder: Path = arguments.pictures
    work: Path = arguments.work

    pictures = find_pictures(folder)
    if not pictures:
        raise SystemExit(f"demo: {folder} holds no PNG, JPEG or WebP file")
    work.mkdir(parents=True, exist_ok=True)
    fill_www(work / "www", pictures, folder)
    port = choose_port(work / "port")
    base_url = f"http://127.0.0.1:{port}"
    sounds = find_sounds(folder)
    rows = spread(
        [picture_row(picture, folder, base_url, sounds) for picture in pictures],
        [hazard_row(i, target, what, base_url) for i, (target, what) in enumerate(HAZARDS)],
    )
    make_keys_unique(rows)
    write_urls(work / "urls", rows)
    with_sound = sum(bool(row.get("has_sound")) for row in rows)
    captions = sum(row.get("languages") or 0 for row in rows)
    print(
        f"demo: {len(pictures)} pictures with {captions:,} captions ({with_sound} with sound), "
        f"among {len(HAZARDS)} URLs that misbehave",
        file=sys.stderr,
    )
    print(port)


if __name__ == "__main__":
    main()
