"""Goldens of PaiNN; environment_painn.txt pins what it ran in.

schnetpack's own PaiNN and Atomwise in float64, with seeded weights.
"""

import typing

import common
import numpy as np
import torch
import torch.utils.data.dataloader
from ase.neighborlist import neighbor_list

# schnetpack 2.0.4 imports a name that torch has dropped.
torch.utils.data.dataloader.T_co = typing.TypeVar("T_co", covariant=True)

from schnetpack import properties  # noqa: E402
from schnetpack.atomistic import Atomwise, PairwiseDistances  # noqa: E402
from schnetpack.model import NeuralNetworkPotential  # noqa: E402
from schnetpack.nn import BesselRBF, CosineCutoff, GaussianRBF, shifted_softplus  # noqa: E402
from schnetpack.representation import PaiNN  # noqa: E402

torch.set_num_threads(1)

BASES = {"gaussian": GaussianRBF, "bessel": BesselRBF}
ACTIVATIONS = {"silu": torch.nn.functional.silu, "shifted_softplus": shifted_softplus}


def inputs(frames, cutoff):
    """All atoms of all frames, with every directed pair within the cutoff, images included."""
    offsets, parts = 0, []
    for frame in frames:
        i, j, shift = neighbor_list("ijS", frame, cutoff)
        parts.append((i + offsets, j + offsets, shift @ frame.cell.array))
        offsets += len(frame)
    i, j, shift = (np.concatenate(p) for p in zip(*parts, strict=True))
    return {
        properties.Z: torch.tensor(np.concatenate([f.numbers for f in frames])),
        properties.R: torch.tensor(np.concatenate([f.positions for f in frames])),
        properties.idx_i: torch.tensor(i),
        properties.idx_j: torch.tensor(j),
        properties.offsets: torch.tensor(shift),
        properties.n_atoms: torch.tensor([len(f) for f in frames]),
        properties.idx_m: torch.repeat_interleave(
            torch.arange(len(frames)), torch.tensor([len(f) for f in frames])
        ),
    }


# The reference's defaults that no array tells: `from_state_dict` asks for them.
DEFAULTS = {"activation": "silu", "epsilon": 1e-8}


def make(case, frames, scale, **config):
    options = {
        "n_atom_basis": 128,
        "n_interactions": 3,
        "n_rbf": 20,
        "radial_basis": "gaussian",
        "cutoff": 5.0,
        "activation": "silu",
    } | config
    rest = {k: options[k] for k in config if k.startswith(("shared", "epsilon"))}
    torch.set_default_dtype(torch.float32)  # its Gaussians cannot be made under float64
    representation = PaiNN(
        options["n_atom_basis"],
        options["n_interactions"],
        BASES[options["radial_basis"]](options["n_rbf"], options["cutoff"]),
        CosineCutoff(options["cutoff"]),
        activation=ACTIVATIONS[options["activation"]],
        **rest,
    )
    model = (
        NeuralNetworkPotential(
            representation=representation,
            input_modules=[PairwiseDistances()],
            output_modules=[Atomwise(options["n_atom_basis"], output_key="energy")],
        )
        .double()
        .eval()
    )
    torch.set_default_dtype(torch.float64)
    dictionary = model.state_dict()
    constants = {k for k in dictionary if "radial_basis" in k or "cutoff_fn" in k}
    state = {k: dictionary[k].numpy() for k in constants}
    # Under shared weights every interaction is listed, under several names of one tensor.
    first = {}
    twins = {
        k: first[v.data_ptr()]
        for k, v in dictionary.items()
        if k not in constants and first.setdefault(v.data_ptr(), k) != k
    }
    shapes = {k: tuple(v.shape) for k, v in dictionary.items() if k not in constants | set(twins)}
    weights = {**common.seeded(shapes, scale), **state}
    weights |= {k: weights[v] for k, v in twins.items()}
    model.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in weights.items()})

    layers = {}
    representation.embedding.register_forward_hook(lambda _, __, out: layers.update(embedding=out))

    def record(i):
        def hook(_, __, out):
            q, mu = out
            vectors = mu.transpose(1, 2).reshape(len(mu), -1)
            layers[f"interaction_{i}"] = torch.cat([q[:, 0], vectors], dim=1)

        return hook

    if options.get("shared_interactions"):
        step = iter(range(options["n_interactions"]))
        representation.mixing[0].register_forward_hook(
            lambda module, given, out: record(next(step))(module, given, out)
        )
    else:
        for i, mixing in enumerate(representation.mixing):
            mixing.register_forward_hook(record(i))
    hidden = model.output_modules[0].outnet[0]
    hidden.register_forward_hook(lambda _, __, out: layers.update(readout=out))
    with torch.no_grad():
        output = model(inputs(frames, options["cutoff"]))["energy"].numpy()
    layers = {k: v.numpy() for k, v in layers.items()}
    for layer, values in layers.items():
        print(case, layer, values.shape, f"{np.abs(values).mean():.3g}")
    print(case, "output", output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="painn",
        config=DEFAULTS | config,
        shapes=shapes,
        scale=scale,
        state=state,
    )


SCALE = {"*embedding.weight": 1.0, "*.weight": 0.15, "*.bias": 0.3}
make("painn", common.molecules()[:6], SCALE | {"*.weight": 0.08}, n_interactions=2)
make(
    "painn_other",
    common.molecules(),
    SCALE,
    n_atom_basis=24,
    n_interactions=3,
    n_rbf=9,
    radial_basis="bessel",
    cutoff=3.2,
    activation="shifted_softplus",
    shared_filters=True,
    epsilon=1e-3,
)
make(
    "painn_shared",
    common.crystals(),
    SCALE,
    n_atom_basis=16,
    n_interactions=2,
    n_rbf=7,
    cutoff=4.3,
    shared_interactions=True,
)
