"""Features and outputs of every zoo model for three molecules, as they were when it was added.

    python tests/goldens/make_zoo.py

They tell whether a later change of an architecture, of extraction or of a dependency moves what the
stored weights say. Made by cpdjax itself: equality with the references is what the other goldens
hold.
"""

from pathlib import Path

import numpy as np

from cpdjax import extract
from cpdjax.models import zoo

OUT = Path(__file__).parent / "zoo.npz"


def arrays(models=None):
    """ "model/layer": (molecule, feature), float64, mean over atoms."""
    structures = zoo.qm9_probe(3)
    for model in models or zoo.names():
        for layer, array in extract(model, structures).items():
            yield f"{model}/{layer}", np.asarray(array.array, np.float64)


if __name__ == "__main__":
    np.savez_compressed(OUT, **dict(arrays()))
