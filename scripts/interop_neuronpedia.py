"""Reads what `saelab report --neuronpedia FOLDER` wrote with SAEDashboard, whose layout Neuronpedia's upload takes.

`python scripts/interop_neuronpedia.py FOLDER`. The module is loaded alone: the package around it needs PyTorch.
"""

import glob
import importlib.util
import json
import site
import sys

folder = sys.argv[1]
path = glob.glob(site.getsitepackages()[0] + "/sae_dashboard/neuronpedia/neuronpedia_dashboard.py")[0]
spec = importlib.util.spec_from_file_location("neuronpedia_dashboard", path)
dashboard = importlib.util.module_from_spec(spec)
sys.modules["neuronpedia_dashboard"] = dashboard
spec.loader.exec_module(dashboard)

features = 0
for path in sorted(glob.glob(f"{folder}/**/batch-*.json", recursive=True)):
    with open(path) as file:
        written = json.load(file)
    batch = dashboard.NeuronpediaDashboardBatch(**written)
    assert batch.to_dict() == written, f"{path}: SAEDashboard writes it otherwise"
    for feature in batch.features:
        features += 1
        for activation in feature.activations:
            at = activation.qualifying_token_index
            assert len(activation.tokens) == len(activation.values) > at >= 0, path
            assert activation.bin_min <= activation.values[at] * (1 + 1e-5), path
            assert activation.values[at] <= activation.bin_max * (1 + 1e-5), path
assert features > 0, f"{folder} holds no batches"
print(f"{features} features are read by SAEDashboard and written again alike")
