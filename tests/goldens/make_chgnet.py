"""Goldens of CHGNet from chgnet 0.4.2; environment_chgnet.txt pins what it ran in.

Real weights as the wheel holds them. All in float64: the reference's graphs and its composition
model are float32 by constants of their own, replaced here. Molecules stand in a cube of 30 Å.
"""

import warnings

import chgnet.graph.converter
import chgnet.model.model
import common
import numpy as np
import torch
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


if __name__ == "__main__":
    molecules = common.molecules()
    real("0.3.0", "chgnet_030_molecules", molecules)
    real("0.3.0", "chgnet_030_crystals", common.crystals())
    real("0.2.0", "chgnet_020_molecules", molecules[:6])
    real("r2scan", "chgnet_r2scan_crystals", common.crystals()[::2])
