"""Speed of the torch references; run by the benchmarks with an interpreter that has them.

    PYTHON reference_models.py MODEL MOLECULES.npz OUT.npz --threads 2 --batches 16,64 --repeats 7
    PYTHON reference_models.py MODEL MOLECULES.npz OUT.npz --train 2e-3 --sizes '{"cutoff": 5.0}'

Each function below makes one reference in float32: the model's call, a way from molecules to its
input, and what `cpdjax.models.from_state_dict` needs for the same weights (nothing for weights
that come with a wheel). Those that are trained take sizes, under the names of
`TRAINING` in the file of each architecture. Neighbour lists are made beforehand, outside the
timing, on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.neighborlist
import numpy as np
import torch
from ase import Atoms


@dataclass
class Reference:
    """A model, ready to be timed."""

    call: Callable[[Any], torch.Tensor]
    """From a prepared batch to one number a molecule."""
    prepare: Callable[[list[Atoms]], Any]
    config: dict[str, Any] = field(default_factory=dict)
    module: torch.nn.Module | None = None
    """Where the weights are, if they do not come with a wheel."""


def flat(frames: list[Atoms], cutoff: float) -> dict[str, torch.Tensor]:
    """All atoms of all molecules in a row, with their directed pairs i ← j."""
    offset, pairs = 0, []
    for frame in frames:
        pairs.append(np.stack(ase.neighborlist.neighbor_list("ij", frame, cutoff)) + offset)
        offset += len(frame)
    sizes = torch.tensor([len(f) for f in frames])
    i, j = torch.tensor(np.concatenate(pairs, axis=1))
    return {
        "numbers": torch.tensor(np.concatenate([f.numbers for f in frames])),
        "positions": torch.tensor(np.concatenate([f.positions for f in frames])).float(),
        "batch": torch.repeat_interleave(torch.arange(len(frames)), sizes),
        "sizes": sizes,
        "i": i,
        "j": j,
    }


class GivenPairs(torch.nn.Module):
    """torch_geometric's interaction graph, from the pairs of the batch."""

    pairs: tuple[torch.Tensor, torch.Tensor]

    def forward(
        self, positions: torch.Tensor, batch: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        i, j = self.pairs
        return torch.stack([j, i]), (positions[i] - positions[j]).norm(dim=1)


def schnet(**sizes: Any) -> Reference:
    """torch_geometric's, by default with its sizes."""
    from torch_geometric.nn.models import SchNet

    graph = GivenPairs()
    model = SchNet(interaction_graph=graph, **sizes).eval()
    cutoff = sizes.get("cutoff", 10.0)

    def call(x: dict[str, torch.Tensor]) -> torch.Tensor:
        graph.pairs = x["i"], x["j"]
        return model(x["numbers"], x["positions"], x["batch"])[:, 0]

    untold = {"readout": "add", "mean": None, "std": None}
    return Reference(call, lambda frames: flat(frames, cutoff), untold | sizes, model)


def visnet(**sizes: Any) -> Reference:
    """torch_geometric's, by default with its sizes; every atom is a neighbour of itself."""
    import torch_geometric.nn.models.visnet as reference

    model = reference.ViSNet(**sizes).eval()
    cutoff = sizes.get("cutoff", 5.0)
    pairs: list[torch.Tensor] = []
    reference.radius_graph = lambda *_, **__: pairs[-1]

    def call(x: dict[str, torch.Tensor]) -> torch.Tensor:
        itself = torch.arange(len(x["numbers"]))
        pairs[:] = [torch.stack([torch.cat([x["j"], itself]), torch.cat([x["i"], itself])])]
        return model(x["numbers"], x["positions"], x["batch"])[0][:, 0]

    untold = {"lmax": 1, "num_heads": 8, "vecnorm_type": None, "reduce_op": "sum"}
    return Reference(call, lambda frames: flat(frames, cutoff), untold | sizes, model)


def dimenet(**own: Any) -> Reference:
    """torch_geometric, by default with the published sizes; triplets are made beforehand too."""
    from torch_geometric.nn.models import DimeNetPlusPlus
    from torch_geometric.nn.models import dimenet as module

    sizes = {"hidden_channels": 128, "out_channels": 1, "num_blocks": 4, "int_emb_size": 64}
    sizes |= {"basis_emb_size": 8, "out_emb_channels": 256, "num_spherical": 7, "num_radial": 6}
    sizes |= own
    cutoff = sizes.get("cutoff", 5.0)
    model = DimeNetPlusPlus(**sizes, output_initializer="glorot_orthogonal").eval()

    def prepare(frames: list[Atoms]) -> dict[str, Any]:
        x = flat(frames, cutoff)
        i, j = x["i"], x["j"]
        starts = np.searchsorted(i, np.arange(len(x["numbers"]) + 1))  # i is sorted
        pairs = [
            (ji, kj)
            for ji in range(len(i))
            for kj in range(starts[j[ji]], starts[j[ji] + 1])
            if j[kj] != i[ji]
        ]
        ji, kj = torch.tensor(pairs).T
        return {**x, "triplets": (i, j, i[ji], j[ji], j[kj], kj, ji)}

    def call(x: dict[str, Any]) -> torch.Tensor:
        module.radius_graph = lambda *_, **__: torch.stack([x["j"], x["i"]])
        module.triplets = lambda *_, **__: x["triplets"]
        return model(x["numbers"], x["positions"], x["batch"])[:, 0]

    untold = {"cutoff": cutoff, "envelope_exponent": 5, "act": "swish"}
    return Reference(call, prepare, untold | sizes, model)


def painn(
    n_atom_basis: int = 128, n_interactions: int = 3, n_embeddings: int = 100, cutoff: float = 5.0
) -> Reference:
    """schnetpack, by default with the sizes of the paper."""
    import torch.utils.data.dataloader

    torch.utils.data.dataloader.T_co = typing.TypeVar("T_co", covariant=True)
    from schnetpack import properties
    from schnetpack.atomistic import Atomwise, PairwiseDistances
    from schnetpack.model import NeuralNetworkPotential
    from schnetpack.nn import CosineCutoff, GaussianRBF
    from schnetpack.representation import PaiNN

    model = NeuralNetworkPotential(
        representation=PaiNN(
            n_atom_basis,
            n_interactions,
            GaussianRBF(20, cutoff),
            CosineCutoff(cutoff),
            max_z=n_embeddings,  # its rows
        ),
        input_modules=[PairwiseDistances()],
        output_modules=[Atomwise(n_atom_basis, output_key="energy")],
    ).eval()

    def prepare(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        x = flat(frames, cutoff)
        return {
            properties.Z: x["numbers"],
            properties.R: x["positions"],
            properties.idx_i: x["i"],
            properties.idx_j: x["j"],
            properties.offsets: torch.zeros(len(x["i"]), 3),
            properties.n_atoms: x["sizes"],
            properties.idx_m: x["batch"],
        }

    config = {"n_atom_basis": n_atom_basis, "n_interactions": n_interactions, "cutoff": cutoff}
    config |= {"activation": "silu", "epsilon": 1e-8}
    # The call adds to the mapping it is given.
    return Reference(lambda x: model(dict(x))["energy"], prepare, config, model)


def sevennet(constant: str) -> Reference:
    """sevenn's pretrained models, energies only."""
    import sevenn._const
    import sevenn._keys as key
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.checkpoint import SevenNetCheckpoint
    from torch_geometric.loader.dataloader import Collater

    checkpoint = SevenNetCheckpoint(getattr(sevenn._const, constant))
    model = checkpoint.build_model().eval()
    model.delete_module_by_key("force_output")
    cutoff = checkpoint.config["cutoff"]

    def graph(frame: Atoms) -> AtomGraphData:
        x = flat([frame], cutoff)
        return AtomGraphData(
            **{
                key.NODE_FEATURE: x["numbers"],
                key.ATOMIC_NUMBERS: x["numbers"],
                key.POS: x["positions"],
                key.EDGE_IDX: torch.stack([x["i"], x["j"]]),
                key.EDGE_VEC: x["positions"][x["j"]] - x["positions"][x["i"]],
                key.CELL: torch.zeros(3, 3),
                key.CELL_SHIFT: torch.zeros(len(x["i"]), 3),
                key.CELL_VOLUME: torch.ones(()),
                key.NUM_ATOMS: x["sizes"][0],
            }
        )

    def prepare(frames: list[Atoms]) -> Any:
        return Collater([])([graph(frame) for frame in frames])

    # The call writes into the batch it is given.
    return Reference(lambda x: model(x.clone())[key.PRED_TOTAL_ENERGY], prepare)


def sevennet_0() -> Reference:
    """SevenNet-0, 11 July 2024."""
    return sevennet("SEVENNET_0_11Jul2024")


def sevennet_l3i5() -> Reference:
    """SevenNet-l3i5."""
    return sevennet("SEVENNET_l3i5")


def so3lr() -> Reference:
    """so3krates-torch's SO3LR, long-range terms over all pairs of a molecule."""
    import so3krates_torch

    file = Path(so3krates_torch.__file__).parent / "pretrained/so3lr/so3lr.model"
    model = torch.load(file, weights_only=False, map_location="cpu").float().eval()
    torch.set_default_dtype(torch.float32)

    def prepare(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        x, every = flat(frames, model.r_max), flat(frames, 1e3)
        near, far = (torch.stack([pairs["i"], pairs["j"]]) for pairs in (x, every))
        none = torch.zeros(len(frames))
        return {
            "positions": x["positions"],
            "cell": torch.zeros(3 * len(frames), 3),
            "edge_index": near,
            "shifts": torch.zeros(near.shape[1], 3),
            "edge_index_lr": far,
            "shifts_lr": torch.zeros(far.shape[1], 3),
            "batch": x["batch"],
            "ptr": torch.cat([torch.zeros(1, dtype=torch.long), x["sizes"].cumsum(0)]),
            "node_attrs": torch.nn.functional.one_hot(x["numbers"] - 1, model.num_elements).float(),
            "atomic_numbers": x["numbers"],
            "total_charge": none,
            "total_spin": none,
            "head": none.long(),
        }

    return Reference(lambda x: model(x, compute_force=False)["energy"], prepare)


def chgnet() -> Reference:
    """chgnet 0.3.0, molecules in a cube of 60 Å; graphs are made beforehand, bases are not."""
    import warnings

    from chgnet.graph.converter import CrystalGraphConverter
    from chgnet.model import CHGNet
    from pymatgen.core import Lattice, Structure

    warnings.filterwarnings("ignore")
    model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False).eval()
    converter = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3, algorithm="legacy")

    def graph(frame: Atoms) -> Any:
        structure = Structure(Lattice(60 * np.eye(3)), frame.numbers, frame.positions + 30,
                              coords_are_cartesian=True)  # fmt: skip
        return converter(structure)

    def prepare(frames: list[Atoms]) -> Any:
        return [graph(frame) for frame in frames], torch.tensor([len(f) for f in frames])

    # Energies are per atom.
    return Reference(lambda x: model(x[0], task="e")["e"] * x[1], prepare)


def ani() -> Reference:
    """torchani 2.2.4's ANI-1x, all eight networks; it finds its pairs itself, inside the timing.

    Its own `ANI1x()` would download, because the wheel's `.info` files are empty.
    """
    import torchani
    from torchani import neurochem

    files = Path(torchani.__file__).parent / "resources/ani-1x_8x"
    constants = neurochem.Constants(files / "rHCNO-5.2R_16-3.5A_a4-8.params")
    networks = neurochem.load_model_ensemble(constants.species, str(files / "train"), 8)
    shifter = neurochem.load_sae(files / "sae_linfit.dat")
    computer = torchani.AEVComputer(**{key: constants[key] for key in constants})
    model = torchani.nn.Sequential(computer, networks, shifter).eval()
    place = torchani.nn.SpeciesConverter(constants.species)

    def prepare(frames: list[Atoms]) -> tuple[torch.Tensor, torch.Tensor]:
        pad = torch.nn.utils.rnn.pad_sequence
        numbers = pad([torch.tensor(f.numbers) for f in frames], True, -1)
        positions = pad([torch.tensor(f.positions).float() for f in frames], True)
        return place((numbers, positions))

    return Reference(lambda x: model(x).energies, prepare)


def mace(
    hidden: Sequence[str] = ("128x0e + 128x1o", "128x0e"),
    interactions: Sequence[str] = ("RealAgnosticResidualInteractionBlock",) * 2,
    correlation: Sequence[int] = (3, 3),
    lmax: int = 3,
    radial_hidden: Sequence[int] = (64, 64, 64),
    average_neighbours: float = 15.0,
    cutoff: float = 5.0,
) -> Reference:
    """mace-torch, by default with the sizes of its training command, for QM9's elements."""
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 reads its constants so
    from e3nn import o3
    from mace import modules

    first, block = interactions
    config = {
        "r_max": cutoff,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": lmax,
        "interaction_cls": block,
        "interaction_cls_first": first,
        "num_interactions": 2,
        "hidden_irreps": hidden[0],
        "MLP_irreps": "16x0e",
        "avg_num_neighbors": average_neighbours,
        "atomic_numbers": [1, 6, 7, 8, 9],
        "correlation": list(correlation),
        "radial_MLP": list(radial_hidden),
        "gate": "silu",
        "apply_cutoff": True,
    }
    options = config | {
        "interaction_cls": modules.interaction_classes[block],
        "interaction_cls_first": modules.interaction_classes[first],
        "hidden_irreps": o3.Irreps(config["hidden_irreps"]),
        "MLP_irreps": o3.Irreps("16x0e"),
        "gate": torch.nn.functional.silu,
        "num_elements": 5,
        "atomic_energies": np.zeros(5),
    }
    scale = {"atomic_inter_scale": 1.0, "atomic_inter_shift": 0.0}
    model = modules.ScaleShiftMACE(**options, **scale).eval()

    def prepare(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        x = flat(frames, cutoff)
        species = torch.tensor([config["atomic_numbers"].index(int(z)) for z in x["numbers"]])
        return {
            "positions": x["positions"],
            "node_attrs": torch.eye(5)[species],
            "edge_index": torch.stack([x["j"], x["i"]]),
            "shifts": torch.zeros(len(x["i"]), 3),
            "cell": torch.zeros(3 * len(frames), 3),
            "batch": x["batch"],
            "ptr": torch.tensor([0, *torch.cumsum(x["sizes"], 0)]),
        }

    def call(x: dict[str, torch.Tensor]) -> torch.Tensor:
        return model(dict(x), compute_force=False)["energy"]

    return Reference(call, prepare, config, model)


REFERENCES = {
    "mace": mace,
    "schnet": schnet,
    "dimenet++": dimenet,
    "painn": painn,
    "visnet": visnet,
    "sevennet-0": sevennet_0,
    "sevennet-l3i5": sevennet_l3i5,
    "so3lr": so3lr,
    "chgnet-0.3.0": chgnet,
    "ani-1x": ani,
}


def infer(
    reference: Reference, frames: list[Atoms], options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Seconds for all molecules at several batch sizes, and the outputs."""
    seconds = {}
    with torch.no_grad():
        for size in map(int, options.batches.split(",")):
            batches = [reference.prepare(frames[k : k + size]) for k in range(0, len(frames), size)]
            outputs = [reference.call(batch).reshape(-1).detach() for batch in batches]  # warm up
            runs = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                for batch in batches:
                    reference.call(batch)
                runs.append(time.perf_counter() - start)
            seconds[size] = runs
    return {"output": torch.cat(outputs).numpy(), "seconds": np.array(json.dumps(seconds))}


def train(
    reference: Reference,
    frames: list[Atoms],
    given: dict[str, np.ndarray],
    rate: float,
    repeats: int,
) -> dict[str, np.ndarray]:
    """Seconds of epochs over the given batches, and the losses of the first epoch."""
    model = reference.module.train()
    # Named in `backward`, so that none is spent on gradients of positions.
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, rate, weight_decay=float(given["decay"]), fused=True)
    batches = []
    for rows, values in zip(given["rows"], given["values"], strict=True):
        chosen = [frames[i] for i in rows]
        counts = torch.tensor([len(f) for f in chosen]).float()
        batches.append((reference.prepare(chosen), counts, torch.tensor(values)))

    def epoch() -> list[float]:
        losses = []
        for x, counts, values in batches:
            optimizer.zero_grad()
            loss = (reference.call(x).reshape(-1) / counts - values).abs().mean()
            loss.backward(inputs=weights)
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).tolist()

    clock, losses, seconds = time.perf_counter, [], []
    for _ in range(repeats + 1):
        start = clock()
        losses.append(epoch())
        seconds.append(clock() - start)
    trained = sum(p.numel() for p in weights if p.grad is not None)
    return {
        "losses": np.array(losses[0]),
        "first": np.array(seconds[0]),
        "seconds": np.array(seconds[1:]),
        "trained": np.array(trained),
    }


def main() -> None:
    """Time one reference and write down what it gives, its first weights and its seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=REFERENCES)
    parser.add_argument("molecules")
    parser.add_argument("out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", default="16,64,128")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--train", type=float, metavar="LEARNING_RATE")
    parser.add_argument("--sizes", type=json.loads, default={})
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with np.load(options.molecules) as stored:
        given = dict(stored)
    parts = given["offsets"][1:-1]
    molecules = zip(
        np.split(given["numbers"], parts), np.split(given["positions"], parts), strict=True
    )
    frames = [Atoms(numbers, positions) for numbers, positions in molecules]
    reference = REFERENCES[options.model](**options.sizes)
    state = reference.module.state_dict() if reference.module else {}
    first = {f"state/{name}": array.numpy().copy() for name, array in state.items()}
    if options.train is None:
        found = infer(reference, frames, options)
    else:
        found = train(reference, frames, given, options.train, options.repeats)
    config = json.dumps(reference.config)
    np.savez(options.out, config=config, torch=torch.__version__, **found, **first)


if __name__ == "__main__":
    main()
