"""Reads stores of every type with pyarrow, polars and DuckDB by the recipes of docs/activations.md, and compares the numbers; harvests
corpora that pyarrow and polars have written.

    python scripts/interop.py SAELAB FOLDER

SAELAB is the program; stores and exports are written into FOLDER, which must be new. `make test-interop` makes the environment.
"""

import json
import pathlib
import random
import re
import subprocess
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

HOOKS = ["blocks.1.hook_resid_pre", "blocks.2.attn.hook_z"]


def numbers(raw, dtype):
    """The numbers behind the bytes of vectors."""
    if dtype == "bf16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(raw, {"f32": "<f4", "f16": "<f2"}[dtype])


def with_pyarrow(path, dtype):
    table = pq.read_table(path)
    raw = b"".join(table["activation"].to_pylist())
    return numbers(raw, dtype).reshape(len(table), -1), table["token"].to_numpy()


def with_polars(path, dtype):
    frame = pl.read_parquet(path)
    raw = b"".join(frame["activation"])
    return numbers(raw, dtype).reshape(len(frame), -1), frame["token"].to_numpy()


def with_duckdb(path, dtype):
    columns = duckdb.sql(f"select activation, token from '{path}'").fetchnumpy()
    raw = b"".join(columns["activation"])
    return numbers(raw, dtype).reshape(len(columns["token"]), -1), columns["token"]


def main(saelab, folder):
    folder = pathlib.Path(folder)
    folder.mkdir()
    hooks = ", ".join(f'"{hook}"' for hook in HOOKS)
    config = folder / "harvest.toml"
    source = '[source]\nkind = "world"\ndocuments = 40\n'
    config.write_text(f'model = "models/small-world"\nhooks = [{hooks}]\nrows_per_shard = 1000\n{source}')
    full = {}
    for dtype in ["f32", "f16", "bf16"]:
        store, lists = folder / dtype, folder / f"{dtype}-lists"
        subprocess.run([saelab, "harvest", config, "--set", f"dtype={dtype}", "--out", store], check=True)
        subprocess.run([saelab, "store", "export", store, "--layout", "list", "--out", lists], check=True)
        for path in sorted(store.glob("*/*.parquet")):
            name = path.relative_to(store)
            table = pq.read_table(lists / name)
            expected = table["activation"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
            assert np.isfinite(expected).all() and expected.std() > 0
            for read in [with_pyarrow, with_polars, with_duckdb]:
                values, tokens = read(path, dtype)
                assert values.shape == expected.shape, (read.__name__, path, values.shape, expected.shape)
                assert (values.astype("<f4") == expected).all(), (read.__name__, path)
                assert (tokens == table["token"].to_numpy()).all(), (read.__name__, path)
            # The numeric form needs no recipe in polars and DuckDB either.
            assert (pl.read_parquet(lists / name)["activation"].to_numpy() == expected).all()
            metadata = pq.read_metadata(path).metadata
            assert metadata[b"saelab.dtype"] == dtype.encode() and int(metadata[b"saelab.rows"]) == len(table)
            # The types round the same numbers.
            bound = {"f32": 0.0, "f16": 2.0**-11, "bf16": 2.0**-8}[dtype]
            exact = full.setdefault(name, expected)
            assert (abs(expected - exact) <= bound * abs(exact) + 1e-7).all(), path
        print(f"{dtype}: pyarrow, polars and DuckDB read {len(list(store.glob('*/*.parquet')))} shards alike")
    harvest_corpora(saelab, folder)


def harvest_corpora(saelab, folder):
    """Parquet of other writers and compressions holds the same documents as plain text."""
    vocabulary = json.loads(pathlib.Path("models/small-world/tokenizer.json").read_text())["model"]["vocab"]
    words = [piece.replace("Ġ", " ") for piece in sorted(vocabulary) if re.fullmatch("Ġ[A-Za-z]+", piece)]
    draw = random.Random(0)
    texts = ["".join(draw.choices(words, k=draw.randint(1, 60))) for _ in range(200)]
    (folder / "corpus.txt").write_text("\n".join(texts))
    table = pa.table({"id": range(len(texts)), "text": texts})
    pq.write_table(table, folder / "snappy.parquet", compression="snappy", row_group_size=64)
    pq.write_table(table, folder / "zstd.parquet", compression="zstd")
    pq.write_table(table, folder / "plain.parquet", compression="none", use_dictionary=False)
    pl.DataFrame({"text": texts}).write_parquet(folder / "polars-snappy.parquet", compression="snappy")
    stores = {}
    for path in [folder / "corpus.txt", *sorted(folder.glob("*.parquet"))]:
        config = folder / f"{path.name}.toml"
        source = f'[source]\nkind = "text"\npath = "{path}"\ncontext = 64\n'
        config.write_text(f'model = "models/small-world"\nhooks = ["{HOOKS[0]}"]\nrows_per_shard = 1000\n{source}')
        subprocess.run([saelab, "harvest", config, "--out", folder / f"{path.name}-store"], check=True)
        shards = sorted((folder / f"{path.name}-store").glob("*/*.parquet"))
        stores[path.name] = [shard.read_bytes() for shard in shards]
    assert len(stores) == 5 and all(len(shards) > 2 and shards == stores["corpus.txt"] for shards in stores.values())
    print("corpora of pyarrow and polars, plain, snappy and zstd, give the shards of the plain text")


if __name__ == "__main__":
    main(*sys.argv[1:])
