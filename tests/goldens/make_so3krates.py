"""Goldens of SO3krates and SO3LR; environment_so3krates.txt pins what it ran in.

so3krates-torch's own models in float64: SO3LR with the weights of its wheel, charged and open-shell
molecules included, plain SO3krates and SO3LR of other options with seeded weights. Euclidean
variables are turned from the reference's order of m, (y, z, x) with z polar, to e3nn's.
"""

from pathlib import Path

import common
import numpy as np
import so3krates_torch
import torch
from ase.neighborlist import neighbor_list
from e3nn import o3
from so3krates_torch.modules.models import SO3LR, So3krates

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
FILE = Path(so3krates_torch.__file__).parent / "pretrained/so3lr/so3lr.model"


# Euclidean variables begin as zeros, so the first layer's filters have nothing to read there.
UNUSED = ["params/interaction_0/*/ev_0/kernel"]


def inputs(frames, cutoff, elements):
    """One batch: pairs within the cutoff, and all pairs for long-range terms."""
    offset, near, shifts, far = 0, [], [], []
    for frame in frames:
        i, j, image = neighbor_list("ijS", frame, cutoff)
        near.append(np.stack([i, j]) + offset)
        shifts.append(image @ frame.cell.array)
        far.append(np.stack(np.nonzero(~np.eye(len(frame), dtype=bool))) + offset)
        offset += len(frame)
    sizes = torch.tensor([len(f) for f in frames])
    numbers = torch.tensor(np.concatenate([f.numbers for f in frames]))
    near, far = (torch.tensor(np.concatenate(p, axis=1)) for p in (near, far))
    return {
        "positions": torch.tensor(np.concatenate([f.positions for f in frames])),
        "cell": torch.zeros(3 * len(frames), 3),
        "edge_index": near,
        "shifts": torch.tensor(np.concatenate(shifts)),
        "edge_index_lr": far,
        "shifts_lr": torch.zeros(far.shape[1], 3),
        "batch": torch.repeat_interleave(torch.arange(len(frames)), sizes),
        "ptr": torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)]),
        "node_attrs": torch.nn.functional.one_hot(numbers - 1, elements).double(),
        "atomic_numbers": numbers,
        "total_charge": torch.tensor([float(f.info.get("charge", 0)) for f in frames]),
        "total_spin": torch.tensor([f.info.get("unpaired", 0) / 2 for f in frames]),
        "head": torch.zeros(len(frames), dtype=torch.long),
    }


def turned(ev, degrees):
    """Variables in e3nn's axes: theirs of (x, y, z) are e3nn's of (y, z, x)."""
    cycle = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    blocks = torch.split(ev, [2 * degree + 1 for degree in degrees], dim=1)
    turns = [o3.Irrep(degree, 1).D_from_matrix(cycle) for degree in degrees]
    return torch.cat([block @ turn for block, turn in zip(blocks, turns, strict=True)], dim=1)


def run(model, frames):
    """Layers in our names and axes, and energies."""
    layers, degrees = {}, model.degrees

    def start(_, __, given):
        layers["embedding"] = given["inv_features"]
        if not model.initialize_ev_to_zeros:
            ev = turned(given["ev_features"], degrees)
            layers["embedding"] = torch.cat([given["inv_features"], ev], dim=1)

    first = model.euclidean_transformers[0]
    first.register_forward_pre_hook(lambda m, a, k: start(m, a, k), with_kwargs=True)
    for i, transformer in enumerate(model.euclidean_transformers):
        transformer.register_forward_hook(
            lambda _, __, out, i=i: layers.update(
                {f"interaction_{i}": torch.cat([out[0], turned(out[1], degrees)], dim=1)}
            )
        )
    head = model.atomic_energy_output_block
    if len(head.layers):
        head.final_layer.register_forward_pre_hook(lambda _, given: layers.update(readout=given[0]))
    out = model(inputs(frames, model.r_max, model.num_elements), compute_force=False)
    layers = {k: v.detach().numpy() for k, v in layers.items()}
    return layers, out["energy"].detach().numpy()


def report(case, layers, output):
    for layer, values in layers.items():
        print(case, layer, values.shape, f"{np.abs(values).mean():.3g}")
    print(case, "output", output)


def charged():
    """Common molecules: a cation, an anion, a radical and a radical cation."""
    cation, anion, radical, both = (common.molecules()[i] for i in (4, 5, 4, 2))
    cation.info["charge"], anion.info["charge"] = 1, -1
    radical.info["unpaired"] = 1
    both.info |= {"charge": 2, "unpaired": 3}
    return [cation, anion, radical, both]


def real(case, frames):
    model = torch.load(FILE, weights_only=False, map_location="cpu").double().eval()
    torch.set_default_dtype(torch.float64)
    layers, output = run(model, frames)
    report(case, layers, output)
    common.save(case, frames, layers, output, model="so3lr", unused=UNUSED)


# The reference's defaults that no array tells: `from_state_dict` asks for them.
DEFAULTS = {
    "message_normalization": "avg_num_neighbors",
    "initialize_ev_to_zeros": True,
    "qk_non_linearity": "identity",
    "cutoff_fn": "cosine",
    "cutoff_p": 5,
    "activation_fn": "silu",
    "energy_activation_fn": "silu",
}
SO3LR_DEFAULTS = DEFAULTS | {
    "zbl_repulsion_bool": True,
    "electrostatic_energy_bool": True,
    "dispersion_energy_bool": True,
}


def seeded(case, frames, kind, scale, **config):
    model = kind(**config, dtype=torch.float64).eval()
    dictionary = model.state_dict()
    derived = ("degree_repeats", "segment", "_basis_fn", "cg_rep")
    state = {k: v.numpy() for k, v in dictionary.items() if any(d in k for d in derived)}
    alias = {
        k: k.replace("euclidean_attention_block.", "")
        for k in dictionary
        if "attention_block.filter_net" in k
    }
    shapes = {k: tuple(v.shape) for k, v in dictionary.items() if k not in state and k not in alias}
    weights = {**common.seeded(shapes, scale), **state}
    weights |= {k: weights[v] for k, v in alias.items()}
    model.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in weights.items()})
    layers, output = run(model, frames)
    report(case, layers, output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="so3krates",
        config=(SO3LR_DEFAULTS if kind is SO3LR else DEFAULTS) | config,
        shapes=shapes,
        scale=scale,
        state=state,
        unused=UNUSED if model.initialize_ev_to_zeros else [],
    )


real("so3lr", common.molecules() + charged())
seeded(
    "so3krates",
    common.crystals(),
    So3krates,
    {"*embedding.weight": 1.0, "*energy_s*": 0.7, "*.W_*": 0.2, "*filter*.weight": 0.3},
    r_max=4.0,
    num_radial_basis_fn=9,
    degrees=[1, 2],
    num_features=24,
    num_heads=3,
    num_layers=2,
    num_elements=20,
    message_normalization="sqrt_num_features",
    initialize_ev_to_zeros=False,
    radial_basis_fn="gaussian",
    residual_mlp_2=True,
    qk_non_linearity="silu",
    cutoff_fn="polynomial",
    avg_num_neighbors=7.5,
    activation_fn="tanh",
)
seeded(
    "so3lr_seeded",
    common.molecules()[:5] + charged(),
    SO3LR,
    {"*embedding.weight": 1.0, "*.W?": 1.0, "*.W_*": 0.3, "*filter*.weight": 0.3},
    r_max=4.5,
    r_max_lr=None,
    num_radial_basis_fn=6,
    degrees=[1, 3],
    num_features=16,
    num_heads=2,
    num_layers=2,
    num_elements=12,
    message_normalization="identity",
    radial_basis_fn="bernstein",
    layer_normalization_1=True,
    residual_mlp_1=True,
    use_spin_embed=True,
    interaction_bias=False,
    activation_fn="gelu",
    energy_activation_fn="tanh",
    final_mlp_layers=1,
    electrostatic_energy_scale=2.5,
    dispersion_energy_bool=False,
)
