"""Goldens of ANI from torchani 2.2.4; environment_ani.txt pins what it ran in.

ANI-1x as the wheel holds it, and seeded small ensembles of other widths: with the environment
vector of ANI-1x, and with that of ANI-2x. All in float64; constants of the environment vector stay
as rounded to float32 by torchani. The wheel's `.info` files are
empty, so that its `ANI1x()` would download: the model is put together from the files here.

Those of ANI-2x come from github isayev/ASE_ANI, `ani_models/ani-2x_8x`, whose path is the first
argument. A second one is the folder for goldens of its networks themselves, which are no part of
the package: `python make_ani.py ani_models/ani-2x_8x /tmp`.
"""

import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import ase
import common
import numpy as np
import torch
from ase.build import molecule

warnings.filterwarnings("ignore")
import torchani  # noqa: E402
from torchani import neurochem  # noqa: E402
from torchani.models import BuiltinEnsemble  # noqa: E402
from torchani.nn import ANIModel, Ensemble, SpeciesConverter  # noqa: E402

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

FILES = Path(torchani.__file__).parent / "resources/ani-1x_8x"


def constants(files):
    """Of ANI-1x or ANI-2x, rounded to float32 as torchani does by default."""
    torch.set_default_dtype(torch.float32)
    [path] = files.glob("*.params")
    made = neurochem.Constants(path)
    torch.set_default_dtype(torch.float64)
    return made


def assemble(files, consts, networks):
    """What `torchani.models` makes of files that are in their place."""
    shifter, energies = neurochem.load_sae(files / "sae_linfit.dat", return_dict=True)
    computer = torchani.AEVComputer(**{key: consts[key] for key in consts})
    parts = SpeciesConverter(consts.species), computer, networks, shifter
    model = BuiltinEnsemble(*parts, consts.species_to_tensor, consts, energies, True)
    return model.double().eval()


def run(model, frames):
    """Layers in our names and widths, and the energies."""
    widest = [
        max(network[2 * i].out_features for network in model.neural_networks[0].values())
        for i in range(len(model.neural_networks[0]["H"]) // 2)
    ]
    names = [*(f"interaction_{i}" for i in range(len(widest) - 1)), "readout"]
    layers, output = {name: [] for name in ("embedding", *names)}, []
    for frame in frames:
        numbers, positions = torch.tensor(frame.numbers)[None], torch.tensor(frame.positions)[None]
        cell = {}
        if frame.pbc.any():
            cell = {"cell": torch.tensor(frame.cell.array), "pbc": torch.tensor(frame.pbc)}
        species, vectors = model.aev_computer(model.species_converter((numbers, positions)), **cell)
        layers["embedding"].append(vectors[0].numpy())
        hidden = [np.zeros((len(frame), len(model.neural_networks), w)) for w in widest]
        for member, networks in enumerate(model.neural_networks):
            for kind, network in enumerate(networks.values()):
                x, rows = vectors[0][species[0] == kind], (species[0] == kind).numpy()
                for i, out in enumerate(hidden):
                    x = network[2 * i + 1](network[2 * i](x))
                    out[rows, member, : x.shape[1]] = x.detach().numpy()
        for name, out in zip(names, hidden, strict=True):
            layers[name].append(out.reshape(len(frame), -1))
        with torch.no_grad():
            output.append(model((numbers, positions), **cell).energies.item())
    return {name: np.concatenate(parts) for name, parts in layers.items()}, np.array(output)


def organic():
    """H C N O only: ANI-1x knows no fluorine."""
    lone, _, linear, planar, amide, _, long = common.molecules()
    water = ase.Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.71, -0.5]])
    return lone, water, linear, planar, amide, long


def crystal():
    """Formamide in a skewed cell that is smaller than the cutoff."""
    heavy = [[0, 0, 0], [1.05, 0.62, 0], [-1.18, 0.65, 0.1]]
    hydrogens = [[0.05, -1.1, 0], [-1.2, 1.66, 0], [-2.05, 0.17, -0.1]]
    cell = [[4.7, 0, 0], [0.6, 4.3, 0], [-0.3, 0.5, 3.5]]
    return ase.Atoms("CONH3", heavy + hydrogens, cell=cell, pbc=True)


def with_sulfur_and_chlorine():
    """H C N O S F Cl, all that ANI-2x knows."""
    amide, fluoride = common.molecules()[4:6]
    return [amide, molecule("CH3SH"), molecule("CH3Cl"), fluoride, molecule("C4H4S")]


def real(case, frames, files=FILES, members=8, model="ani-1x"):
    """A golden of ANI-1x or ANI-2x."""
    consts = constants(files)
    torch.set_default_dtype(torch.float32)
    networks = neurochem.load_model_ensemble(consts.species, str(files / "train"), members)
    torch.set_default_dtype(torch.float64)
    layers, output = run(assemble(files, consts, networks), frames)
    report(case, layers, output)
    common.save(case, frames, layers, output, model=model)


def seeded(case, frames, widths, files=FILES):
    """A golden of a seeded ensemble of two, each element with its own widths."""

    def network(hidden):
        steps, before = [], length
        for width in hidden:
            steps += [torch.nn.Linear(before, width), torch.nn.CELU(alpha=0.1)]
            before = width
        return torch.nn.Sequential(*steps, torch.nn.Linear(before, 1))

    consts = constants(files)
    length = torchani.AEVComputer(**{key: consts[key] for key in consts}).aev_length
    members = [
        ANIModel(OrderedDict(zip(consts.species, map(network, widths), strict=True)))
        for _ in range(2)
    ]
    model = assemble(files, consts, Ensemble(members))
    state = model.state_dict()
    fixed = {k: v.numpy() for k, v in state.items() if not k.startswith("neural_networks.")}
    shapes = {k: tuple(v.shape) for k, v in state.items() if k not in fixed}
    scale = {"*.0.weight": 0.7}
    weights = common.seeded(shapes, scale) | fixed
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=True)
    layers, output = run(model, frames)
    report(case, layers, output)
    config = {"species": consts.species, "Rcr": consts.Rcr, "Rca": consts.Rca}
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="ani",
        config=config,
        shapes=shapes,
        scale=scale,
        state=fixed,
    )


def report(case, layers, output):
    """What went into a golden."""
    print(case, {k: (v.shape, round(float(np.abs(v).max()), 3)) for k, v in layers.items()})
    print(output)


if __name__ == "__main__":
    lone, water, linear, planar, amide, long = organic()
    real("ani_1x_molecules", [lone, water, linear, amide])
    real("ani_1x_crystal", [crystal()])
    seeded(
        "ani_seeded", [lone, water, linear, planar, amide, long], [(9, 7), (8, 5), (6, 8), (4, 3)]
    )
    ani_2x = Path(sys.argv[1])
    seeded(
        "ani_2x_seeded",
        with_sulfur_and_chlorine(),
        [(5, 4), (4, 5), (3, 4), (4, 3), (3, 3), (2, 4), (3, 2)],
        ani_2x,
    )
    if len(sys.argv) > 2:
        common.FOLDER = Path(sys.argv[2])
        members = len(list(ani_2x.glob("train*")))
        real("ani_2x", with_sulfur_and_chlorine(), ani_2x, members, "ani-2x")
