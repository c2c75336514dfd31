"""Reads what the program `saelab` writes: stores of activations, reports, autoencoders."""

from pathlib import Path

from ._report import Report
from ._store import Store

__all__ = ["Report", "Store", "load_sae", "open_store", "report"]


def open_store(path):
    """The store of activations in a folder that `saelab harvest` wrote."""
    return Store(Path(path))


def report(path):
    """The report in a folder that `saelab eval` wrote."""
    return Report(Path(path))


def load_sae(path):
    """The autoencoder in a folder of saelab or SAELens, as a `torch.nn.Module`. It needs torch."""
    from ._sae import load

    return load(Path(path))
