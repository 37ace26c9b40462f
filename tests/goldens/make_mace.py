"""Goldens of MACE; environment_mace.txt pins what it ran in.

mace-torch's own MACE and ScaleShiftMACE in float64, with seeded weights, all scaled so that no term
is small beside the others. `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python make_mace.py`.

Run with e3nn 0.6.0 instead of mace-torch's own 0.4.4, it makes the first case again, as
`mace_e3nn_06`: the same weights, but other signs in the coupling tensors of the state dict.
"""

import common
import e3nn
import numpy as np
import torch
from ase.neighborlist import neighbor_list
from e3nn import o3
from mace import modules

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def inputs(frames, elements, cutoff, head):
    """All atoms of all frames, with every directed pair within the cutoff, images included."""
    offset, parts = 0, []
    for frame in frames:
        i, j, shift = neighbor_list("ijS", frame, cutoff)
        parts.append((i + offset, j + offset, shift.reshape(-1, 3) @ frame.cell.array))
        offset += len(frame)
    i, j, shifts = (torch.tensor(np.concatenate(part)) for part in zip(*parts, strict=True))
    numbers = np.concatenate([f.numbers for f in frames])
    sizes = torch.tensor([len(f) for f in frames])
    return {
        "positions": torch.tensor(np.concatenate([f.positions for f in frames])),
        "node_attrs": torch.eye(len(elements))[[elements.index(z) for z in numbers]],
        "edge_index": torch.stack([i, j]),
        "shifts": shifts,
        "unit_shifts": shifts,
        "cell": torch.zeros(3 * len(frames), 3),
        "batch": torch.repeat_interleave(torch.arange(len(frames)), sizes),
        "ptr": torch.tensor([0, *torch.cumsum(sizes, 0)]),
        "head": torch.full((len(frames),), head),
    }


GATES = {"silu": torch.nn.functional.silu, "tanh": torch.tanh, "None": None}


# The reference's defaults that no array tells: `from_state_dict` asks for them.
DEFAULTS = {"apply_cutoff": True}


def build(config, energies, **scale_shift):
    """The reference's model of a configuration as `cpdjax.models.from_state_dict` takes it."""
    options = {k: v for k, v in config.items() if k != "head"} | {
        "interaction_cls": modules.interaction_classes[config["interaction_cls"]],
        "interaction_cls_first": modules.interaction_classes[config["interaction_cls_first"]],
        "hidden_irreps": o3.Irreps(config["hidden_irreps"]),
        "MLP_irreps": o3.Irreps(config["MLP_irreps"]),
        "gate": GATES[config["gate"]],
        "num_elements": len(config["atomic_numbers"]),
        "atomic_energies": energies,
    }
    kind = modules.ScaleShiftMACE if scale_shift else modules.MACE
    return kind(**options, **scale_shift)


def run(model, config, frames):
    """Layers in our names and order, and the energies."""
    layers = {}
    tapped = {"embedding": model.node_embedding}
    tapped |= {f"interaction_{i}": product for i, product in enumerate(model.products)}
    if len(model.products) > 1:
        tapped["readout"] = model.readouts[-1].non_linearity
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: layers.update({name: out}))
        for name, module in tapped.items()
    ]
    heads = config.get("heads", ["Default"])
    head = heads.index(config.get("head", heads[0]))
    data = inputs(frames, config["atomic_numbers"], config["r_max"], head)
    energy = model(data, compute_force=False)["energy"].detach().numpy()
    for hook in hooks:
        hook.remove()
    layers = {k: v.detach().numpy() for k, v in layers.items()}
    if "readout" in layers:
        layers["readout"] = np.split(layers["readout"], len(heads), axis=1)[head]
    return layers, energy


BLOCK = "RealAgnostic{}InteractionBlock"


def make(case, frames, config, messages, **scale_shift):
    """Write a golden; `messages` is the scale of what is multiplied, for terms of like size."""
    elements, heads = len(config["atomic_numbers"]), len(config.get("heads", ["Default"]))
    energies = np.linspace(-3, 2, elements * heads).reshape(heads, elements)
    scale = {
        "node_embedding*": elements**0.5,
        "*skip_tp*": elements**0.5,
        "interactions.*.linear.weight": messages,
        "*": 1.0,
    }
    model = build(config, energies, **scale_shift).eval()
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    seeded = {k for k, _ in model.named_parameters() if state[k].size}
    shapes = {k: state[k].shape for k in state if k in seeded}
    stored = {k: v for k, v in state.items() if k not in seeded and not k.endswith("output_mask")}
    weights = common.seeded(shapes, scale)
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    layers, output = run(model, config, frames)
    for layer, values in layers.items():
        print(case, layer, values.shape, f"{np.abs(values).mean():.3g}")
    print(case, "output", output)
    cubic = {k: v * 0.9 if k.endswith("weights_max") else v for k, v in weights.items()}
    model.load_state_dict({k: torch.tensor(v) for k, v in cubic.items()}, strict=False)
    others, _ = run(model, config, frames)
    for layer, values in others.items():
        change = np.abs(values - layers[layer]).max() / np.abs(layers[layer]).max()
        print(case, layer, f"moved by {change:.2g} when the highest terms lose a tenth")
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="mace",
        config=DEFAULTS | config,
        shapes=shapes,
        scale=scale,
        state=stored,
    )


def main():
    base = {
        "num_bessel": 6,
        "num_polynomial_cutoff": 5,
        "num_interactions": 2,
        "correlation": 3,
        "gate": "silu",
        "MLP_irreps": "5x0e",
    }
    salts = {"atomic_numbers": [6, 8, 11, 12, 17]}
    organic = {"atomic_numbers": [1, 6, 7, 8, 9]}
    newer = e3nn.__version__.startswith("0.6")
    make(
        "mace_e3nn_06" if newer else "mace",
        common.crystals(),
        base
        | salts
        | {
            "r_max": 4.0,
            "max_ell": 2,
            "interaction_cls": BLOCK.format("Residual"),
            "interaction_cls_first": BLOCK.format("Residual"),
            "hidden_irreps": "6x0e + 6x1o + 6x2e",
            "avg_num_neighbors": 8.5,
            "radial_MLP": [8, 12],
        },
        5.0,
        atomic_inter_scale=0.8,
        atomic_inter_shift=0.15,
    )
    if newer:
        return
    make(
        "mace_density",
        common.molecules(),
        base
        | organic
        | {
            "r_max": 3.5,
            "max_ell": 2,
            "num_interactions": 3,
            "num_polynomial_cutoff": 6,
            "correlation": [2, 3, 2],
            "gate": "tanh",
            "interaction_cls": BLOCK.format("DensityResidual"),
            "interaction_cls_first": BLOCK.format("Density"),
            "hidden_irreps": "4x0e + 4x1o",
            "avg_num_neighbors": 1.0,
            "radial_type": "gaussian",
            "distance_transform": "Agnesi",
            "pair_repulsion": True,
            "apply_cutoff": False,
            "radial_MLP": [7],
        },
        0.6,
    )
    make(
        "mace_heads",
        common.molecules()[:5],
        base
        | organic
        | {
            "r_max": 4.2,
            "max_ell": 3,
            "correlation": 2,
            "gate": "None",
            "interaction_cls": BLOCK.format("Residual"),
            "interaction_cls_first": BLOCK.format(""),
            "hidden_irreps": "4x0e + 4x1o + 4x2e",
            "avg_num_neighbors": 3.0,
            "radial_MLP": [9, 9],
            "heads": ["first", "second", "third"],
            "head": "second",
            "use_last_readout_only": True,
            "keep_last_layer_irreps": True,
            "use_agnostic_product": True,
        },
        6.0,
        atomic_inter_scale=[0.7, 1.2, 0.4],
        atomic_inter_shift=[0.1, -0.2, 0.3],
    )
    make(
        "mace_one",
        common.crystals(),
        base
        | salts
        | {
            "r_max": 3.0,
            "max_ell": 2,
            "num_interactions": 1,
            "interaction_cls": BLOCK.format(""),
            "interaction_cls_first": BLOCK.format(""),
            "hidden_irreps": "8x0e",
            "avg_num_neighbors": 5.0,
        },
        8.0,
    )
    small = base | {
        "r_max": 6.0,
        "max_ell": 3,
        "num_bessel": 10,
        "interaction_cls": BLOCK.format("Residual"),
        "interaction_cls_first": BLOCK.format("Residual"),
        "hidden_irreps": "128x0e",
        "MLP_irreps": "16x0e",
        "avg_num_neighbors": 36.0,
        "atomic_numbers": [z for z in range(1, 95) if z not in (84, 85, 86, 87, 88)],
    }
    frames = [common.crystals()[2], common.molecules()[5]]
    make("mace_small", frames, small, 20.0, atomic_inter_scale=0.8, atomic_inter_shift=0.16)


if __name__ == "__main__":
    main()
