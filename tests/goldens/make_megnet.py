"""Goldens of MEGNet; environment_megnet.txt pins what it ran in, and says how megnet is installed.

megnet's own model and graphs in float64, with seeded weights. It was written for Keras 2, which is
tf_keras today; pymatgen has given three classes that it imports other names since; and its Set2Set
begins with zeros in TensorFlow's default precision, which is float32. A lone atom has no bonds,
which the reference does not take.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import common
import numpy as np
import tensorflow as tf
from pymatgen.analysis import local_env
from pymatgen.core import Lattice, Molecule, Structure

for kind in ("real", "reciprocal", "relative"):
    setattr(local_env, f"BrunnerNN_{kind}", getattr(local_env, f"BrunnerNN{kind.capitalize()}"))

from megnet.config import DataType  # noqa: E402
from megnet.data.crystal import CrystalGraph  # noqa: E402
from megnet.data.graph import GaussianDistance  # noqa: E402
from megnet.data.molecule import SimpleMolGraph  # noqa: E402
from megnet.data.qm9 import AtomNumberToTypeConverter  # noqa: E402
from megnet.layers.readout import set2set  # noqa: E402
from megnet.models.megnet import make_megnet_model  # noqa: E402

DataType.np_float, DataType.tf_float = np.float64, tf.float64
tf.keras.backend.set_floatx("float64")


class Float64:
    """TensorFlow whose zeros are float64."""

    def __getattr__(self, name):
        return getattr(tf, name)

    @staticmethod
    def zeros(shape):
        return tf.zeros(shape, tf.float64)


set2set.tf = Float64()


def structure(frame):
    if frame.pbc.any():
        return Structure(Lattice(frame.cell.array), frame.numbers, frame.positions,
                         coords_are_cartesian=True)  # fmt: skip
    return Molecule(frame.numbers, frame.positions)


def make(case, frames, converter, config, **sizes):
    bonds = converter.bond_converter
    nblocks, npass = config["nblocks"], config["npass"]
    model = make_megnet_model(
        nfeat_edge=len(bonds.centers),
        nblocks=nblocks,
        npass=npass,
        is_classification=config["is_classification"],
        **sizes,
    )
    shapes = {
        f"{layer.name}/{w.name.split('/')[-1].split(':')[0]}": tuple(w.shape)
        for layer in model.layers
        for w in layer.weights
    }
    weights = common.seeded(shapes, SCALE)
    for layer in model.layers:
        names = [f"{layer.name}/{w.name.split('/')[-1].split(':')[0]}" for w in layer.weights]
        layer.set_weights([weights[name] for name in names])
    wanted = {"embedding": "atom_embedding"}
    wanted |= {f"interaction_{i}": f"block_{i}_add_atom" for i in range(nblocks)}
    wanted |= {"readout": "readout_1", "output": "readout_2"}
    tapped = tf.keras.Model(model.inputs, [model.get_layer(n).output for n in wanted.values()])
    rows = {name: [] for name in wanted}
    for frame in frames:
        inputs = converter.get_input(structure(frame))
        inputs[2] = inputs[2].astype(np.float64)
        for name, found in zip(wanted, tapped(inputs), strict=True):
            found = np.asarray(found)[0]
            rows[name].append(np.repeat(found, len(frame), 0) if name == "readout" else found)
    scale, shift = config.get("std", 1.0), config.get("mean", 0.0)
    counts = np.array([1 if config["is_intensive"] else len(f) for f in frames])
    output = counts * (np.concatenate(rows.pop("output"))[:, 0] * scale + shift)
    layers = {name: np.concatenate(found) for name, found in rows.items()}
    for layer, values in layers.items():
        print(case, layer, values.shape, f"{np.abs(values).mean():.3g}")
    print(case, "output", output)
    graphs = {
        "graph_converter": type(converter).__name__,
        "centers": bonds.centers.tolist(),
        "width": bonds.width,
    }
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="megnet",
        config=graphs | config,
        shapes=shapes,
        scale=SCALE,
        unused=["params/start_structure/layer0/kernel"],  # the state begins with zeros
    )


SCALE = {"*/embeddings": 1.0, "set2set_*/recurrent_kernel": 0.6, "*/*bias*": 0.3}
make(
    "megnet",
    common.molecules()[1:],
    SimpleMolGraph(atom_converter=AtomNumberToTypeConverter()),
    {
        "nblocks": 3, "npass": 3, "is_classification": False, "mean": -4.2, "std": 0.7,
        "is_intensive": False, "mapping": AtomNumberToTypeConverter().mapping,
    },
    n1=10, n2=6, n3=4, nvocal=9, embedding_dim=5,
)  # fmt: skip
make(
    "megnet_crystals",
    common.crystals(),
    CrystalGraph(bond_converter=GaussianDistance(np.linspace(0, 5, 30), 0.5), cutoff=4.0),
    {
        "nblocks": 2, "npass": 2, "is_classification": True, "is_intensive": True, "cutoff": 4.0,
    },
    n1=8, n2=5, n3=3, nvocal=95, embedding_dim=4,
)  # fmt: skip
