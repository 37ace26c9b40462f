"""Goldens of CHGNet from chgnet 0.4.2; environment_chgnet.txt pins what it ran in.

Real weights as the wheel holds them, and a seeded model of other options. All in float64: the
reference's graphs and its composition model are float32 by constants of their own, replaced here.
Molecules stand in a cube of 30 Å.
"""

import warnings

import chgnet.graph.converter
import chgnet.model.model
import common
import numpy as np
import torch
from ase.build import bulk
from chgnet.graph.converter import CrystalGraphConverter
from chgnet.model import CHGNet
from chgnet.model.composition_model import AtomRef
from pymatgen.core import Lattice, Structure

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
chgnet.graph.converter.TORCH_DTYPE = torch.float64
chgnet.model.model.TORCH_DTYPE = torch.float64


def composition(self, graphs):
    """The share of every element, in float64."""
    counts = [torch.bincount(g.atomic_number - 1, minlength=94) for g in graphs]
    return torch.stack([c.double() / c.sum() for c in counts])


AtomRef._assemble_graphs = composition


def structure(frame):
    """A frame as pymatgen knows it."""
    cell = frame.cell.array if frame.pbc.all() else 30 * np.eye(3)
    shift = 0 if frame.pbc.all() else 15
    positions = frame.positions + shift
    return Structure(Lattice(cell), frame.numbers, positions, coords_are_cartesian=True)


def run(model, frames):
    """Layers in our names, and the energies of whole structures (eV)."""
    converter = CrystalGraphConverter(
        atom_graph_cutoff=model.graph_converter.atom_graph_cutoff,
        bond_graph_cutoff=model.graph_converter.bond_graph_cutoff,
        algorithm="legacy",
        on_isolated_atoms="ignore",
    )
    layers = {}

    def keep(name):
        def hook(_, __, out):
            layers[name] = out.detach().numpy().copy()

        return hook

    def keep_input(_, inputs):
        layers["readout"] = inputs[0].detach().numpy().copy()

    model.atom_embedding.register_forward_hook(keep("embedding"))
    for i, layer in enumerate(model.atom_conv_layers):
        layer.register_forward_hook(keep(f"interaction_{i}"))
    model.mlp.layers[-1].register_forward_pre_hook(keep_input)
    graphs = [converter(structure(frame)) for frame in frames]
    # As one batch: the reference skips bond convolutions where no structure has an angle.
    energies = model(graphs, task="e")["e"].detach().numpy()
    return layers, energies * [len(frame) for frame in frames]


def real(name, case, frames):
    """A golden of published weights."""
    torch.set_default_dtype(torch.float32)
    model = CHGNet.load(model_name=name, use_device="cpu", verbose=False).double().eval()
    torch.set_default_dtype(torch.float64)
    layers, output = run(model, frames)
    print(case, {k: (v.shape, round(float(np.abs(v).max()), 3)) for k, v in layers.items()})
    print(output)
    common.save(case, frames, layers, output, model=f"chgnet-{name}")


def seeded(case, frames, scale, **config):
    """A golden of seeded weights: other widths and options than those of the published."""
    model = CHGNet(**config, composition_model="MPtrj").double().eval()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    fixed = {k: v.numpy() for k, v in model.state_dict().items() if "frequencies" in k}
    shapes = {k: shape for k, shape in shapes.items() if k not in fixed}
    weights = common.seeded(shapes, scale) | fixed
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=True)
    layers, output = run(model, frames)
    print(case, {k: (v.shape, round(float(np.abs(v).max()), 3)) for k, v in layers.items()})
    print(output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="chgnet",
        config=config,
        shapes=shapes,
        scale=scale,
        state=fixed,
    )


def iron():
    """One atom in its cell: every bond is to an image of itself."""
    return bulk("Fe", "bcc", a=2.87)


if __name__ == "__main__":
    molecules = common.molecules()
    real("0.3.0", "chgnet_030_molecules", molecules)
    real("0.3.0", "chgnet_030_crystals", common.crystals())
    real("0.2.0", "chgnet_020_molecules", molecules[:6])
    real("r2scan", "chgnet_r2scan_crystals", common.crystals()[::2])
    seeded(
        "chgnet_seeded",
        [*common.crystals()[1:], iron()],
        {"*embedding*": 1.0, "*mlp_out*": 0.1, "*bias": 0.3},
        atom_fea_dim=12,
        bond_fea_dim=10,
        angle_fea_dim=8,
        num_radial=7,
        num_angular=5,
        n_conv=3,
        atom_conv_hidden_dim=0,
        bond_conv_hidden_dim=6,
        angle_layer_hidden_dim=9,
        mlp_hidden_dims=[11, 7],
        non_linearity="gelu",
        atom_graph_cutoff=4.2,
        bond_graph_cutoff=3,
        cutoff_coeff=6,
        readout_norm=None,
        mlp_out_bias=True,
    )
