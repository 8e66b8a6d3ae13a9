"""Pipelines that the laws are shown on; they read what photos.write_inputs made and write below out/."""

PIPELINES = {
    "filter": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
  - filter: width > 500 and caption is not null
  - write_parquet: {path: out/a, row_group_size: 100, data_page_bytes: 2KiB}
""",
    "with_columns": """
steps:
  - read_parquet: in/parquet
  - with_columns: {area: cast(width as int64) * width, shout: upper(caption), half: score / 2}
  - drop: [tags]
  - rename: {body: bytes}
  - write_parquet: {path: out/a, rows_per_file: 333, compression: snappy}
""",
    "several_sinks": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 500}
  - with_columns: {wide: width > 2000}
    name: base
  - write_parquet: {path: out/parquet, max_file_bytes: 50KiB}
  - select: [id, width, caption, lang, tags, wide]
  - write_jsonl: {path: out/jsonl, rows_per_file: 100}
  - filter: wide
    input: base
  - select: [id, caption, width]
  - write_csv: {path: out/csv}
""",
    "partition_by": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 900}
  - with_columns: {bucket: width % 13}
  - select: [id, bucket, lang, caption]
  - write_parquet: {path: out/parquet, partition_by: [bucket, lang], row_group_size: 50}
  - write_csv: {path: out/csv, partition_by: [lang]}
""",
    "webdataset": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 800}
  - write_webdataset: {path: out/shards, rows_per_shard: 150, extensions: {body: bin, caption: txt}}
""",
    "exact_shards": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
  - filter: width % 3 != 0
  - write_webdataset: {path: out/shards, rows_per_shard: 250, exact: true, extensions: {body: bin}}
  - write_parquet: {path: out/parquet, rows_per_file: 400, exact: true}
""",
    "limit": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 300}
  - filter: width % 5 = 0
  - limit: 777
  - write_parquet: {path: out/a, rows_per_file: 100}
""",
    "union": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 1000}
  - select: [id, width, caption]
    name: first
  - read_jsonl: {path: in/jsonl, partition_bytes: 64KiB, column_types: {id: int64, width: int32, caption: string}}
  - select: [id, width, caption]
    name: second
  - union:
    input: [first, second]
  - filter: width < 3000
  - write_parquet: {path: out/a, row_group_size: 128}
""",
    "diamond": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 600}
  - select: [id, width, caption]
    name: base
  - filter: width < 1000
    name: narrow
  - filter: width >= 3000
    input: base
    name: wide
  - with_columns: {caption: upper(caption)}
    name: shout
  - union:
    input: [narrow, shout]
  - limit: 900
  - write_jsonl: out/a
""",
    "jsonl": """
steps:
  - read_jsonl: {path: in/jsonl, partition_bytes: 50KB, column_types: {score: float64}}
  - filter: id % 2 = 0
  - write_jsonl: {path: out/a, rows_per_file: 500, skip_nulls: true}
""",
    "csv": """
steps:
  - read_csv: {path: in/csv, partition_bytes: 30KB}
  - with_columns: {length: length(caption)}
  - write_csv: {path: out/a}
  - write_parquet: {path: out/b, dictionary: false, statistics: false, compression: gzip}
""",
    "text_and_files": """
steps:
  - read_text: {path: in/text, partition_bytes: 20KB}
  - filter: not ends_with(text, '7 träge')
  - write_jsonl: out/text
  - read_files: {path: in, rows_per_partition: 2}
  - select: {path: path, size: size, head: "binary_slice(bytes, 0, 8)"}
  - write_parquet: out/files
""",
    "sort": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
  - sort: {by: [lang, width], descending: [false, true], partitions: 5}
  - write_parquet: {path: out/a, row_group_size: 300}
""",
    "top": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
  - sort: {by: width, descending: true}
  - limit: 500
  - write_jsonl: out/a
""",
    "random_shuffle": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 500}
  - random_shuffle: {seed: 11, partitions: 4}
  - write_parquet: out/a
  - select: [id]
  - repartition: {n: 3}
  - write_jsonl: out/b
""",
    "local_shuffle": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 500}
  - filter: width % 7 <> 3
  - local_shuffle: {buffer_rows: 60, seed: 5}
  - write_parquet: out/a
  - local_shuffle: {buffer_rows: 100}
  - write_jsonl: out/b
""",
    "distinct": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 400}
  - with_columns: {bucket: width % 101}
    name: base
  - distinct: {by: [bucket, lang], keep: last}
  - write_parquet: out/last
  - select: [lang]
    input: base
  - distinct:
  - write_jsonl: out/langs
""",
    "group_by": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 300}
  - with_columns: {bucket: width % 37}
  - group_by:
      by: [lang, bucket]
      aggregates: {n: count(), s: sum(score), m: mean(width), d: std(score), ids: list(id), least: min(caption)}
  - filter: n > 1
  - write_parquet: out/a
""",
    "map_groups": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 300}
  - map_groups:
      by: [lang]
      steps:
        - filter: width % 3 != 0
        - sort: {by: [score, width], descending: [true, false]}
        - with_row_index: {name: rank, offset: 1}
        - limit: 40
        - filter: rank % 2 = 0
        - limit: 15
  - write_parquet: out/a
""",
    "repartition_by_key": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 600}
  - repartition: {n: 6, by: [lang]}
  - write_webdataset: {path: out/a, extensions: {body: bin}}
""",
    "join": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
    name: whole
  - group_by: {by: [lang], aggregates: {n: count()}}
    name: langs
  - filter: n > 5
    name: common
  - join: {on: [lang], how: left, partitions: 3}
    input: [whole, common]
  - write_parquet: out/a
""",
    "broadcast_and_zip": """
steps:
  - read_parquet: {path: in/parquet, rows_per_partition: 700}
    name: whole
  - group_by: {by: [lang], aggregates: {n: count()}}
    name: langs
  - join: {on: [lang], how: left, strategy: broadcast}
    input: [whole, langs]
    name: counted
  - join_asof: {left_on: width, right_on: n, direction: nearest, suffix: _near}
    input: [counted, langs]
    name: near
  - select: {code: n_near}
    name: codes
  - zip: {}
    input: [near, codes]
  - write_parquet: out/a
""",
}
