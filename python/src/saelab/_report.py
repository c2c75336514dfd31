"""Reports of evaluations: `report.json`, and its scores as columns."""

import hashlib
import json

import pyarrow.parquet as pq

FORMAT_VERSION = 7


class Report(dict):
    """`report.json` as a dict, with the scores as tables."""

    def __init__(self, path):
        self.path = path
        file = path / "report.json"
        if not file.is_file():
            raise FileNotFoundError(f"{path} holds no report.json; `saelab eval` writes it, `saelab splice` a splice.json")
        super().__init__(json.loads(file.read_text(encoding="utf-8")))
        found = self.get("format_version")
        if found != FORMAT_VERSION:
            raise ValueError(f"{file} has format {found}, this package reads {FORMAT_VERSION}")

    def __repr__(self):
        names = [facts["name"] for facts in self["dictionaries"]]
        return f"Report({str(self.path)!r}: task {self['task']}, {', '.join(names)})"

    @property
    def scores(self):
        """A row a score; `raw` and `latents` are JSON text."""
        return self._table("scores")

    @property
    def resamples(self):
        """A row a score, with `resamples`, the list of its bootstrap resamples."""
        return self._table("resamples")

    def _table(self, name):
        path = self.path / f"{name}.parquet"
        if hashlib.sha256(path.read_bytes()).hexdigest() != self["columns"][name]:
            raise ValueError(f"{path} is not the file that report.json was written with; run `saelab eval` again")
        return pq.read_table(path)
