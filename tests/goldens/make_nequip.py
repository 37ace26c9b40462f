"""Goldens of NequIP and SevenNet from sevenn 0.13.0; environment_nequip.txt pins what it ran in.

Real weights as the wheel holds them, and a seeded small model with parity and other options. All in
float64. Checkpoints hold Wigner 3j symbols rounded to float32, with which no model is equivariant
beyond 1e-8; they are replaced by e3nn's own of float64, sign kept, except in the goldens "stored".
"""

import json
import warnings

import ase.neighborlist
import common
import e3nn.o3
import numpy as np
import sevenn._const
import sevenn._keys as KEY
import torch
from sevenn.atom_graph_data import AtomGraphData
from sevenn.checkpoint import SevenNetCheckpoint
from sevenn.model_build import build_E3_equivariant_model
from torch_geometric.loader.dataloader import Collater

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

REAL = {
    "sevennet-0": sevenn._const.SEVENNET_0_11Jul2024,
    "sevennet-0-22may2024": sevenn._const.SEVENNET_0_22May2024,
    "sevennet-l3i5": sevenn._const.SEVENNET_l3i5,
}


def graphs(frames, cutoff):
    """A batch of all frames, edges by ASE."""
    made = []
    for frame in frames:
        i, j, shifts = ase.neighborlist.neighbor_list("ijS", frame, cutoff)
        vectors = frame.positions[j] - frame.positions[i] + shifts @ frame.cell.array
        data = {
            KEY.NODE_FEATURE: torch.tensor(frame.numbers),
            KEY.ATOMIC_NUMBERS: torch.tensor(frame.numbers),
            KEY.POS: torch.tensor(frame.positions),
            KEY.EDGE_IDX: torch.tensor(np.stack([i, j]).reshape(2, -1)),
            KEY.EDGE_VEC: torch.tensor(vectors.reshape(-1, 3)),
            KEY.CELL: torch.tensor(frame.cell.array),
            KEY.CELL_SHIFT: torch.tensor(shifts.reshape(-1, 3).astype(float)),
            KEY.CELL_VOLUME: torch.tensor(max(frame.cell.volume, 1.0)),
            KEY.NUM_ATOMS: torch.tensor(len(frame)),
        }
        made.append(AtomGraphData(**data))
    return Collater([])(made)


def run(model, frames, cutoff, readout):
    """Layers in our names and order, and the energies."""
    layers = {}

    def record(name, irreps):
        def hook(_, __, data):
            layers[name] = reordered(data[KEY.NODE_FEATURE].detach().numpy(), irreps)

        return hook

    handles = []
    modules = dict(model.named_children())
    # sevenn makes its one-hot elements float32 in any precision.
    modules["onehot_idx_to_onehot"].register_forward_hook(
        lambda _, __, data: {
            **data,
            KEY.NODE_FEATURE: data[KEY.NODE_FEATURE].double(),
            KEY.NODE_ATTR: data[KEY.NODE_ATTR].double(),
        }
    )
    embedding = modules["onehot_to_feature_x"]
    handles.append(embedding.register_forward_hook(record("embedding", embedding.irreps_out)))
    gates = [name for name in modules if name.endswith("_equivariant_gate")]
    for i, name in enumerate(gates):
        irreps = modules[name].gate.irreps_out
        handles.append(modules[name].register_forward_hook(record(f"interaction_{i}", irreps)))
    del modules["force_output"]
    model.delete_module_by_key("force_output")
    if readout == "linear":
        hidden = modules["reduce_input_to_hidden"]
        hidden.register_forward_hook(record("readout", hidden.irreps_out))
    else:
        last = list(modules["readout_FCN"].fcn.children())[-1]

        def keep(_, inputs):
            layers["readout"] = inputs[0].detach().numpy()

        last.register_forward_pre_hook(keep)
    with torch.no_grad():
        data = model(graphs(frames, cutoff))
    return layers, data[KEY.PRED_TOTAL_ENERGY].numpy()


def reordered(x, irreps):
    """Entries sorted as e3nn-jax sorts: by degree, first the parity of the harmonics."""
    entries = list(zip(e3nn.o3.Irreps(irreps), e3nn.o3.Irreps(irreps).slices(), strict=True))
    entries.sort(key=lambda entry: (entry[0].ir.l, -entry[0].ir.p * (-1) ** entry[0].ir.l))
    return np.concatenate([x[:, columns] for _, columns in entries], axis=1)


def sharpen(model):
    """Exact Wigner 3j symbols with the signs of those in the model."""
    for name, buffer in model.named_buffers():
        if "_w3j_" in name:
            exact = e3nn.o3.wigner_3j(*map(int, name.split("_")[-3:]), dtype=torch.float64)
            sign = torch.sign((buffer * exact).sum())
            assert torch.allclose(sign * buffer, exact, atol=1e-6)
            buffer.copy_(sign * exact)


def real(name, case, frames, stored=False):
    """A golden of published weights, with exact Wigner 3j symbols or those in the file."""
    checkpoint = SevenNetCheckpoint(REAL[name])
    torch.set_default_dtype(torch.float32)  # sevenn compares the stored symbols with its own
    model = checkpoint.build_model().double().eval()
    torch.set_default_dtype(torch.float64)
    if not stored:
        sharpen(model)
    layers, output = run(model, frames, checkpoint.config["cutoff"], "linear")
    report(case, layers, output)
    limit = {"tolerance": 1e-6, "reason": "Wigner 3j symbols of the file are float32"}
    common.save(case, frames, layers, output, model=name, **(limit if stored else {}))


def seeded(case, frames, changes, readout="linear"):
    """A golden of seeded weights and the hyperparameters `changes`."""
    config = {
        **sevenn._const.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG,
        "_type_map": {1: 2, 6: 4, 7: 0, 8: 1, 9: 3},
        "_number_of_species": 5,
        "version": "0.13.0",
        "shift": [-1.5, 0.3, 2.0, -0.7, 0.9],
        "scale": [1.3, 0.8, 2.1, 1.7, 0.6],
        **changes,
    }
    # sevenn's own copy: building pops from nested dictionaries.
    model = build_E3_equivariant_model(json.loads(json.dumps(config)) | typed(config)).double()
    state = model.state_dict()
    fixed = {
        key: value.numpy()
        for key, value in state.items()
        if "_w3j_" in key
        or key.endswith(("output_mask", "denominator"))
        or key.startswith("rescale")
        or value.numel() == 0
    }
    shapes = {key: tuple(value.shape) for key, value in state.items() if key not in fixed}
    scale = {
        "edge_embedding.*": 1.0,
        "*.weight_nn.*": 1.0,
        "*.fcn.*": 1.0,
        "*.linear.bias": 0.5,
        "*": 1.0,
    }
    weights = common.seeded(shapes, scale) | fixed
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=True)
    layers, output = run(model.eval(), frames, config["cutoff"], readout)
    report(case, layers, output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="nequip",
        config=config,
        shapes=shapes,
        scale=scale,
        state=fixed,
    )


def typed(config):
    """The type map with integers for keys, which JSON does not keep."""
    return {"_type_map": config["_type_map"]}


def report(case, layers, output):
    """What went into a golden."""
    print(case, {k: (v.shape, round(float(np.abs(v).max()), 3)) for k, v in layers.items()})
    print(output)


SMALL = {
    "cutoff": 4.0,
    "channel": 4,
    "lmax": 2,
    "lmax_node": 1,
    "num_convolution_layer": 4,
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 5},
    "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 4},
    "weight_nn_hidden_neurons": [12],
    "act_radial": "ssp",
    "act_scalar": {"e": "ssp", "o": "tanh"},
    "self_connection_type": ["nequip", "linear", "nequip", "linear"],
    "conv_denominator": [3.0, 4.0, 5.0, 2.0],
    "is_parity": True,
    "use_bias_in_linear": True,
}
NETWORK = {
    "cutoff": 3.5,
    "channel": 6,
    "lmax": 3,
    "num_convolution_layer": 2,
    "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 2.5},
    "act_gate": {"e": "ssp", "o": "tanh"},
    "conv_denominator": 2.0,
    "is_parity": False,
    "_normalize_sph": False,
    "readout_as_fcn": True,
    "readout_fcn_hidden_neurons": [9, 7],
    "readout_fcn_activation": "silu",
}

if __name__ == "__main__":
    molecules = common.molecules()
    few = [molecules[k] for k in (0, 2, 4)]
    real("sevennet-0", "sevennet_0_molecules", [*few, molecules[5]])
    real("sevennet-0", "sevennet_0_crystals", common.crystals())
    real("sevennet-0-22may2024", "sevennet_0_22may2024", [molecules[k] for k in (0, 1, 5)])
    real("sevennet-l3i5", "sevennet_l3i5_molecules", [molecules[k] for k in (0, 2, 5)])
    real("sevennet-l3i5", "sevennet_l3i5_crystals", common.crystals()[::2])
    for name in REAL:
        real(name, name.replace("-", "_") + "_stored", [molecules[2]], stored=True)
    seeded("nequip_parity", molecules[:6], SMALL)
    seeded("nequip_network", molecules, NETWORK, readout="network")
