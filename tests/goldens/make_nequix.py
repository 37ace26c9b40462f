"""Goldens of Nequix 0.4.5 with seeded weights; environment_nequix.txt pins what it ran in.

All in float64, of molecules and of crystals; and nequix_tiny.nqx, the file that the reference's own
`save_model` writes of the first model, in float32. The reference has no hook for layers, so that
`__call__` of its convolutions and of its linear maps is wrapped.
"""

import ase.neighborlist
import common
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from nequix.model import Nequix, NequixConvolution, save_model

TRAINING = {"optimizer": "muon", "mlp_init_scale": 4.0, "train_path": "nowhere", "kernel": True}
MOLECULES = {
    "cutoff": 4.0,
    "atomic_numbers": [1, 6, 7, 8, 9],
    "atom_energies": {"1": -1.5, "6": 0.3, "7": 2.0, "8": -0.7, "9": 0.9},
    "avg_n_neighbors": 7.3,
    "scale": 0.8,
    "shift": 0.16,
    "hidden_irreps": "6x0e + 4x1o + 3x2e",
    "lmax": 2,
    "n_layers": 3,
    "radial_basis_size": 5,
    "radial_mlp_size": 7,
    "radial_mlp_layers": 2,
    "radial_polynomial_p": 6.0,
    "index_weights": False,
    "layer_norm": True,
}
CRYSTALS = MOLECULES | {
    "cutoff": 4.5,
    "atomic_numbers": [6, 8, 11, 12, 17],
    "atom_energies": {"6": -1.5, "8": 0.3, "11": 2.0, "12": -0.7, "17": 0.9},
    "avg_n_neighbors": 31.0,
    "hidden_irreps": "4x0e + 2x1o + 2x2e + 1x3o",
    "lmax": 3,
    "n_layers": 2,
    "radial_mlp_layers": 1,
    "radial_polynomial_p": 4.0,
    "layer_norm": False,
}


def made(config):
    """The reference's model of a configuration, as its own `load_model` makes it."""
    unread = ("atomic_numbers", "atom_energies")
    arguments = {name: value for name, value in config.items() if name not in unread}
    energies = [config["atom_energies"][str(number)] for number in config["atomic_numbers"]]
    count, key = len(config["atomic_numbers"]), jax.random.key(0)
    return Nequix(key, count, mlp_init_scale=4.0, atom_energies=energies, **arguments)


def name_of(path):
    """A leaf's name: its path, with the matrices of one linear map under one name."""
    keys = [str(getattr(key, "name", getattr(key, "idx", ""))) for key in path]
    return ".".join("weight" if key == "_weights" else key for key in keys if key)


def filled(model, scale):
    """The model with seeded weights, and the shapes of these by name; linear maps are flat."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(eqx.filter(model, eqx.is_array))
    sizes = {}
    for path, leaf in leaves:
        name = name_of(path)
        flat = name.endswith(".weight")
        sizes[name] = (sizes.get(name, (0,))[0] + leaf.size,) if flat else leaf.shape
    rest = common.seeded(sizes, scale)
    rest = {name: array.ravel() for name, array in rest.items()}
    new = []
    for path, leaf in leaves:
        name = name_of(path)
        new.append(jnp.asarray(rest[name][: leaf.size].reshape(leaf.shape)))
        rest[name] = rest[name][leaf.size :]
    _, static = eqx.partition(model, eqx.is_array)
    return eqx.combine(jax.tree.unflatten(tree, new), static), sizes


def run(model, frames, cutoff, elements):
    """Layers in our names, and the energies; edges by ASE."""
    edges, vectors, start = [], [], 0
    for frame in frames:
        i, j, shifts = ase.neighborlist.neighbor_list("ijS", frame, cutoff)
        vectors.append(frame.positions[j] - frame.positions[i] + shifts @ frame.cell.array)
        edges.append(np.stack([i, j]).reshape(2, -1) + start)
        start += len(frame)
    receivers, senders = np.concatenate(edges, axis=1).astype(np.int32)
    numbers = np.concatenate([frame.numbers for frame in frames])
    species = np.array([elements.index(number) for number in numbers], np.int32)
    layers, call = {}, NequixConvolution.__call__

    def recording(self, features, *arguments):
        if not layers:
            layers["embedding"] = self.linear_1(features).array
        found = call(self, features, *arguments)
        layers[f"interaction_{len(layers) - 1}"] = found.array
        return found

    NequixConvolution.__call__ = recording
    energies = model.node_energies(
        jnp.asarray(np.concatenate(vectors)), species, senders, receivers
    )[:, 0]
    NequixConvolution.__call__ = call
    own = energies - model.atom_energies[species]
    layers["readout"] = ((own - model.shift) / model.scale)[:, None]
    starts = np.cumsum([0, *map(len, frames)])[:-1]
    arrays = {name: np.asarray(array) for name, array in layers.items()}
    return arrays, np.add.reduceat(np.asarray(energies), starts)


SCALE = {"atom_energies": 1.0, "*.radial_mlp.*": 0.6, "*": 1.0}


def golden(case, config, frames):
    """Write a golden, and return its model."""
    model, shapes = filled(made(config), SCALE)
    energies = common.seeded(shapes, SCALE)["atom_energies"]
    named = dict(zip(map(str, config["atomic_numbers"]), energies.tolist(), strict=True))
    config = {**TRAINING, **config, "atom_energies": named}
    layers, output = run(model, frames, config["cutoff"], config["atomic_numbers"])
    print(case, {k: (v.shape, round(float(np.abs(v).max()), 3)) for k, v in layers.items()})
    print(output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="nequix",
        config=config,
        shapes=shapes,
        scale=SCALE,
    )
    return model, config


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    model, config = golden("nequix", MOLECULES, common.molecules()[:6])
    golden("nequix_crystals", CRYSTALS, common.crystals())
    single = jax.tree.map(lambda leaf: leaf.astype(np.float32), model)
    save_model(str(common.FOLDER / "nequix_tiny.nqx"), single, config)
