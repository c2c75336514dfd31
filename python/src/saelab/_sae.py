"""Autoencoders and transcoders in the layout of SAELens: `cfg.json` and `sae_weights.safetensors`.

B rows of D numbers, F latents.
"""

import json
import struct

import numpy as np
import torch

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
KINDS = ["standard", "topk", "jumprelu", "gated"]
NORMALISATIONS = ["none", "layer_norm", "constant_norm_rescale"]


def load(path):
    config_file, weights_file = path / "cfg.json", path / "sae_weights.safetensors"
    for file in [config_file, weights_file]:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; `saelab convert` makes such a folder of those of other libraries")
    config = json.loads(config_file.read_text(encoding="utf-8"))
    sae = Autoencoder(config, read_tensors(weights_file))
    sae.eval()
    return sae


def read_tensors(path):
    """The tensors of a safetensors file, as float32."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: {name} has type {entry['dtype']}, expected one of {', '.join(DTYPES)}")
        start, end = entry["data_offsets"]
        values = np.frombuffer(data[start:end], DTYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")
        tensors[name] = torch.from_numpy(values.astype(np.float32).reshape(entry["shape"]))
    return tensors


class Autoencoder(torch.nn.Module):
    """Codes and reconstructions as `saelab encode` gives them."""

    def __init__(self, config, tensors):
        super().__init__()
        self.config = config
        kind = config.get("architecture", "")
        self.transcodes = kind.endswith("transcoder")
        kind = kind.removesuffix("skip_transcoder").removesuffix("transcoder").rstrip("_") or "standard"
        self.normalisation = config.get("normalize_activations") or "none"
        reshapes = config.get("reshape_activations") or "none"
        unfit = [
            "metadata" not in config and "a folder of SAELens before version 6",
            kind not in KINDS and f"architecture {config.get('architecture')}",
            self.normalisation not in NORMALISATIONS and f"normalize_activations {self.normalisation}",
            reshapes != "none" and f"reshape_activations {reshapes}",
            bool(config.get("rescale_acts_by_decoder_norm")) and "rescale_acts_by_decoder_norm",
            "scaling_factor" in tensors and "scaling_factor",
        ]
        for reason in filter(None, unfit):
            raise ValueError(f"{reason} is not read here; `saelab convert` folds it, or refuses it with a reason")
        self.kind, self.k = kind, config.get("k")
        self.subtracts_b_dec = bool(config.get("apply_b_dec_to_input")) and not self.transcodes
        for name, values in tensors.items():
            self.register_parameter(name, torch.nn.Parameter(values))

    def encode(self, x):
        """Codes [B, F] of activations [B, D]."""
        x = self._normalised(x)
        if self.subtracts_b_dec:
            x = x - self.b_dec
        bias = self.b_gate if self.kind == "gated" else self.b_enc
        h = x @ self.W_enc + bias  # [B, F]
        if self.kind == "topk":
            return self._largest(h)
        if self.kind == "jumprelu":
            return h * (h > self.threshold)
        if self.kind == "gated":
            magnitude = (h - self.b_gate) * self.r_mag.exp() + self.b_mag
            return magnitude.relu() * (h > 0)
        return h.relu()

    def decode(self, codes, x=None):
        """What codes [B, F] stand for; `x` are the activations that they are of, where the autoencoder normalises or skips."""
        out = codes @ self.W_dec + self.b_dec  # [B, D_out]
        if hasattr(self, "W_skip"):
            out = out + x @ self.W_skip.T
        if self.transcodes or self.normalisation == "none":
            return out
        if self.normalisation == "layer_norm":
            mean, deviation = self._moments(x)
            return out * deviation + mean
        return out / self._factor(x)

    def forward(self, x):
        """The reconstruction of activations [B, D]."""
        return self.decode(self.encode(x), x)

    def _largest(self, h):
        """The k largest positive entries of each row; of equal ones the leftmost."""
        k = min(self.k, h.shape[-1])
        least = h.topk(k, dim=-1).values[..., -1:]  # [B, 1]
        above = h > least
        equal = h == least
        left = k - above.sum(-1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(-1) <= left))
        return h.relu() * chosen

    def _normalised(self, x):
        if self.normalisation == "layer_norm":
            mean, deviation = self._moments(x)
            return (x - mean) / (deviation + 1e-5)
        if self.normalisation == "constant_norm_rescale":
            return x * self._factor(x)
        return x

    @staticmethod
    def _moments(x):
        return x.mean(-1, keepdim=True), x.std(-1, keepdim=True)

    @staticmethod
    def _factor(x):
        norm = x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        return x.shape[-1] ** 0.5 / norm
