"""The package against the program: stores, contexts, reports, codes.

    SAELAB=target/release/saelab PYTHONPATH=python/src python -m unittest discover -s python/tests

Everything is made with the shipped model in a temporary folder. What needs torch is skipped where there is none, and says so.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np
import pyarrow.parquet as pq

import saelab

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOOKS = ["blocks.1.hook_resid_pre", "blocks.2.attn.hook_z"]
SITES = "configs/sites/small-world.toml"
TRAIN = """
steps = 40
batch = 64
expansion = 2
[[autoencoder]]
architecture = "topk"
k = 4
[[autoencoder]]
architecture = "relu"
l1 = 1.0
[[autoencoder]]
architecture = "gated"
l1 = 1.0
[[autoencoder]]
architecture = "jumprelu"
l0 = 4.0
[[autoencoder]]
architecture = "topk"
k = 4
target = "blocks.1.hook_mlp_out"
"""


def program(*arguments):
    name = os.environ.get("SAELAB", str(ROOT / "target/release/saelab"))
    done = subprocess.run([name, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))}: {done.stderr}")


def write_vectors(path, vectors):
    """A safetensors file with `x`."""
    header = {"x": {"dtype": "F32", "shape": list(vectors.shape), "data_offsets": [0, vectors.nbytes]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + vectors.astype("<f4").tobytes())


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        hooks = ", ".join(f'"{hook}"' for hook in [*HOOKS, "blocks.1.hook_mlp_out"])
        config = cls.folder / "harvest.toml"
        source = '[source]\nkind = "world"\ndocuments = 30\n'
        config.write_text(f'model = "models/small-world"\nhooks = [{hooks}]\nrows_per_shard = 500\n{source}')
        for dtype in ["f32", "bf16"]:
            program("harvest", config, "--set", f"dtype={dtype}", "--out", cls.folder / dtype)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_vectors_are_those_of_the_exported_lists(self):
        for dtype in ["f32", "bf16"]:
            store = saelab.open_store(self.folder / dtype)
            lists = self.folder / f"{dtype}-lists"
            program("store", "export", store.path, "--layout", "list", "--out", lists)
            store.check()
            self.assertEqual(store.dtype, dtype)
            for hook in HOOKS:
                vectors, rows = store.vectors(hook), store.rows(hook)
                shards = [pq.read_table(path) for path in sorted((lists / hook).glob("*.parquet"))]
                self.assertGreater(len(shards), 1)
                expected = np.concatenate([np.stack(shard["activation"].to_pylist()) for shard in shards])
                self.assertEqual(len(vectors), len(store))
                np.testing.assert_array_equal(vectors.reshape(len(store), -1), expected.astype(np.float32))
                self.assertEqual(rows["token"].to_pylist(), [token for shard in shards for token in shard["token"].to_pylist()])
            self.assertEqual(store.vectors(HOOKS[1]).shape, (len(store), 4, 32))

    def test_a_vector_leads_back_to_its_context(self):
        store = saelab.open_store(self.folder / "f32")
        rows = store.rows(HOOKS[0])
        for vector in [0, 17, len(store) - 1]:
            context = store.context(HOOKS[0], vector)
            position = rows["position"][vector].as_py()
            self.assertEqual(len(context), position + 1)
            self.assertEqual(context[-1], rows["token"][vector].as_py())
            near = store.context(HOOKS[0], vector, before=2, after=1)
            window = store.window(rows["row"][vector].as_py())
            np.testing.assert_array_equal(near, window[max(0, position - 2) : position + 2])

    def test_what_is_not_there_is_named(self):
        with self.assertRaisesRegex(FileNotFoundError, "saelab harvest"):
            saelab.open_store(self.folder / "nothing")
        store = saelab.open_store(self.folder / "f32")
        with self.assertRaisesRegex(KeyError, "blocks.1.hook_resid_pre"):
            store.vectors("blocks.9.hook_resid_pre")
        with self.assertRaisesRegex(FileNotFoundError, "saelab eval"):
            saelab.report(self.folder)
        damaged = self.folder / "damaged"
        subprocess.run(["cp", "-r", store.path, damaged], check=True)
        manifest = json.loads((damaged / "manifest.json").read_text())
        (damaged / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
        with self.assertRaisesRegex(ValueError, "99"):
            saelab.open_store(damaged)
        (damaged / "manifest.json").write_text(json.dumps(manifest))
        shard = next(iter(manifest["hooks"].values()))["shards"][0]["file"]
        raw = bytearray((damaged / shard).read_bytes())
        raw[100] ^= 1
        (damaged / shard).write_bytes(raw)
        with self.assertRaisesRegex(ValueError, "damaged"):
            saelab.open_store(damaged).check()

    def test_a_report_is_a_dict_and_tables(self):
        run = self.folder / "run"
        harvest = ["harvest", "configs/ioi/harvest.toml", "--set", "source.n=300", "--set", f"sites={SITES}"]
        program(*harvest, "--out", run / "activations")
        program("fit", "configs/ioi/fit.toml", "--run", run, "--sites", SITES)
        sets = ["prompts=40", "interpretability_prompts=100", "resamples=20", "ks=[1]", "compare_k=1"]
        sets += ["edits=[]", "thresholds=[]", "baselines=[]", "compare=[]"]
        options = [part for key in sets for part in ["--set", key]]
        evaluation = ["eval", "configs/eval/ioi-quick.toml", "--model", "models/small-world", "--run", run, "--sites", SITES]
        program(*evaluation, *options)
        report = saelab.report(run)
        self.assertEqual(report["config"]["prompts"], 40)
        scores = report.scores
        self.assertEqual(len(scores), len(report["scores"]))
        for column in ["dictionary", "metric", "value"]:
            self.assertEqual(scores[column].to_pylist(), [score[column] for score in report["scores"]])
        # What has no interval has no resamples.
        lengths = {len(resamples) for resamples in report.resamples["resamples"].to_pylist()}
        self.assertEqual(lengths, {0, 20})
        named = [json.loads(text) for text, metric in zip(scores["latents"].to_pylist(), scores["metric"].to_pylist()) if metric == "f1"]
        self.assertTrue(any(named))
        (run / "scores.parquet").write_bytes((run / "resamples.parquet").read_bytes())
        with self.assertRaisesRegex(ValueError, "saelab eval"):
            report.scores

    @unittest.skipUnless(importlib.util.find_spec("torch"), "torch is not installed: the codes of load_sae were not compared")
    def test_codes_are_those_of_the_program(self):
        import torch

        run, config, rows = self.folder / "trained", self.folder / "train.toml", self.folder / "x.safetensors"
        config.write_text(TRAIN)
        program("train", config, "--run", run, "--activations", self.folder / "f32")
        vectors = saelab.open_store(self.folder / "f32").vectors(HOOKS[0])[:200]
        write_vectors(rows, vectors)
        compared = 0
        for folder in sorted(run.glob(f"sae/*/{HOOKS[0]}")):
            out = self.folder / "codes.safetensors"
            program("encode", folder, "--input", rows, "--out", out)
            expected = __import__("saelab._sae", fromlist=["read_tensors"]).read_tensors(out)
            sae = saelab.load_sae(folder)
            with torch.no_grad():
                codes, reconstruction = sae.encode(torch.from_numpy(vectors)), sae(torch.from_numpy(vectors))
            self.assertGreater(float(codes.max()), 0.0, folder)
            torch.testing.assert_close(codes, expected["feature_acts"], atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(reconstruction, expected["reconstruction"], atol=2e-4, rtol=1e-4)
            compared += 1
        self.assertEqual(compared, 5)


if __name__ == "__main__":
    unittest.main()
