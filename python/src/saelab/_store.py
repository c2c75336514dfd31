"""Stores of activations: `manifest.json`, `tokens.parquet`, and a folder of Parquet shards for each hook.

N vectors of a hook, W numbers in each; H heads of Dh numbers where a hook has heads.
"""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMAT_VERSION = 4
NUMPY = {"f32": "<f4", "f16": "<f2", "bf16": "<u2"}


class Store:
    """Activations of one model on one text or task. Nothing is read before it is asked for."""

    def __init__(self, path):
        self.path = path
        manifest = path / "manifest.json"
        if not manifest.is_file():
            raise FileNotFoundError(f"{path} is no finished store: it has no manifest.json; run `saelab harvest`")
        self.manifest = json.loads(manifest.read_text(encoding="utf-8"))
        found = self.manifest.get("format_version")
        if found != FORMAT_VERSION:
            raise ValueError(f"{manifest} has format {found}, this package reads {FORMAT_VERSION}")
        self._windows = None

    @property
    def hooks(self):
        """The names of the stored hooks."""
        return list(self.manifest["hooks"])

    @property
    def dtype(self):
        """The type of the stored numbers: f32, f16 or bf16."""
        return self.manifest["dtype"]

    def __len__(self):
        """Vectors of each hook."""
        return self.manifest["rows"]

    def __repr__(self):
        return f"Store({str(self.path)!r}: {len(self)} vectors of {', '.join(self.hooks)}, {self.dtype})"

    def _entry(self, hook):
        entry = self.manifest["hooks"].get(hook)
        if entry is None:
            raise KeyError(f"{self.path} has no hook {hook}; it has {', '.join(self.hooks)}")
        return entry

    def batches(self, hook, columns=None):
        """Shard by shard: vectors as float32 [n, W], or [n, H, Dh], and the other columns (all, or those named) as a table."""
        entry = self._entry(hook)
        for shard in entry["shards"]:
            path = self.path / shard["file"]
            if columns is None:
                table = pq.read_table(path)
            else:
                table = pq.read_table(path, columns=["activation", *columns])
            yield self._numbers(table["activation"], entry), table.drop_columns(["activation"])

    def _numbers(self, column, entry):
        raw = b"".join(column.to_pylist())
        values = np.frombuffer(raw, NUMPY[self.dtype])
        if self.dtype == "bf16":
            # The upper halves of float32.
            values = (values.astype("<u4") << 16).view("<f4")
        values = values.astype(np.float32, copy=False)
        if entry["heads"] is None:
            return values.reshape(-1, entry["width"])
        return values.reshape(-1, entry["heads"], entry["width"] // entry["heads"])

    def vectors(self, hook):
        """All vectors of a hook, float32 [N, W], or [N, H, Dh] where it has heads."""
        return np.concatenate([values for values, _ in self.batches(hook, columns=[])])

    def rows(self, hook):
        """Where each vector comes from: `row` (window or prompt), `document`, `position`, `role`, `token`, `special`, labels."""
        tables = []
        for shard in self._entry(hook)["shards"]:
            path = self.path / shard["file"]
            names = [name for name in pq.read_schema(path).names if name != "activation"]
            tables.append(pq.read_table(path, columns=names))
        return pa.concat_tables(tables)

    @property
    def windows(self):
        """What the model read, a row a sequence: `window`, `document` of its first token, `ids`."""
        if self._windows is None:
            self._windows = pq.read_table(self.path / "tokens.parquet")
        return self._windows

    def window(self, number):
        """The token ids of one sequence, uint32 [T]."""
        if not 0 <= number < len(self.windows):
            raise IndexError(f"{self.path} has windows 0 to {len(self.windows) - 1}, not {number}")
        return np.asarray(self.windows["ids"][number].as_py(), dtype=np.uint32)

    def context(self, hook, vector, before=None, after=0):
        """The token ids around one vector: `before` tokens (default all), its own, and `after` tokens of the same window."""
        rows = self.rows(hook).slice(vector, 1)
        if vector < 0 or len(rows) == 0:
            raise IndexError(f"{hook} has vectors 0 to {len(self) - 1}, not {vector}")
        ids, position = self.window(rows["row"][0].as_py()), rows["position"][0].as_py()
        start = 0 if before is None else max(0, position - before)
        return ids[start : position + after + 1]

    def check(self):
        """Compares every file with the sha256 that the manifest names; raises for the first that differs."""
        entries = [(self.path / "tokens.parquet", self.manifest["tokens"]["sha256"])]
        for hook in self.manifest["hooks"].values():
            entries += [(self.path / shard["file"], shard["sha256"]) for shard in hook["shards"]]
        for path, expected in entries:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != expected:
                raise ValueError(f"{path} is damaged: its sha256 is {found}, the manifest says {expected}")
