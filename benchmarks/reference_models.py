"""Speed of the torch references; run by `bench_extract.py` with an interpreter that has them.

    PYTHON reference_models.py MODEL MOLECULES.npz OUT.npz --threads 2 --batches 16,64 --repeats 7

Each function below makes one reference in float32: the model's call, a way from molecules to its
input, and what `cpdjax.models.from_state_dict` needs for the same weights (nothing for weights
that come with a wheel). Neighbour lists are made beforehand, outside the timing, on both sides.
"""

from __future__ import annotations

import argparse
import json
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
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
    state: dict[str, torch.Tensor] = field(default_factory=dict)


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
    """torch_geometric's interaction graph, from the pairs of the batch at hand."""

    pairs: tuple[torch.Tensor, torch.Tensor]

    def forward(
        self, positions: torch.Tensor, batch: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        i, j = self.pairs
        return torch.stack([j, i]), (positions[i] - positions[j]).norm(dim=1)


def schnet() -> Reference:
    """torch_geometric's defaults."""
    from torch_geometric.nn.models import SchNet

    graph = GivenPairs()
    model = SchNet(interaction_graph=graph).eval()

    def call(x: dict[str, torch.Tensor]) -> torch.Tensor:
        graph.pairs = x["i"], x["j"]
        return model(x["numbers"], x["positions"], x["batch"])[:, 0]

    return Reference(call, lambda frames: flat(frames, 10.0), {}, model.state_dict())


def painn() -> Reference:
    """schnetpack, with the sizes of the paper."""
    import torch.utils.data.dataloader

    torch.utils.data.dataloader.T_co = typing.TypeVar("T_co", covariant=True)
    from schnetpack import properties
    from schnetpack.atomistic import Atomwise, PairwiseDistances
    from schnetpack.model import NeuralNetworkPotential
    from schnetpack.nn import CosineCutoff, GaussianRBF
    from schnetpack.representation import PaiNN

    model = NeuralNetworkPotential(
        representation=PaiNN(128, 3, GaussianRBF(20, 5.0), CosineCutoff(5.0)),
        input_modules=[PairwiseDistances()],
        output_modules=[Atomwise(128, output_key="energy")],
    ).eval()

    def prepare(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        x = flat(frames, 5.0)
        return {
            properties.Z: x["numbers"],
            properties.R: x["positions"],
            properties.idx_i: x["i"],
            properties.idx_j: x["j"],
            properties.offsets: torch.zeros(len(x["i"]), 3),
            properties.n_atoms: x["sizes"],
            properties.idx_m: x["batch"],
        }

    # The call adds to the mapping it is given.
    return Reference(lambda x: model(dict(x))["energy"], prepare, {}, model.state_dict())


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


def mace() -> Reference:
    """mace-torch, with the sizes that its training command has by default, for QM9's elements."""
    from e3nn import o3
    from mace import modules

    block = "RealAgnosticResidualInteractionBlock"
    config = {
        "r_max": 5.0,
        "num_bessel": 8,
        "num_polynomial_cutoff": 5,
        "max_ell": 3,
        "interaction_cls": block,
        "interaction_cls_first": block,
        "num_interactions": 2,
        "hidden_irreps": "128x0e + 128x1o",
        "MLP_irreps": "16x0e",
        "avg_num_neighbors": 15.0,
        "atomic_numbers": [1, 6, 7, 8, 9],
        "correlation": 3,
        "gate": "silu",
    }
    options = config | {
        "interaction_cls": modules.interaction_classes[block],
        "interaction_cls_first": modules.interaction_classes[block],
        "hidden_irreps": o3.Irreps(config["hidden_irreps"]),
        "MLP_irreps": o3.Irreps("16x0e"),
        "gate": torch.nn.functional.silu,
        "num_elements": 5,
        "atomic_energies": np.zeros(5),
    }
    scale = {"atomic_inter_scale": 1.0, "atomic_inter_shift": 0.0}
    model = modules.ScaleShiftMACE(**options, **scale).eval()

    def prepare(frames: list[Atoms]) -> dict[str, torch.Tensor]:
        x = flat(frames, 5.0)
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
        return model(dict(x), compute_force=False)["energy"].detach()

    return Reference(call, prepare, config, model.state_dict())


REFERENCES = {
    "mace": mace,
    "schnet": schnet,
    "painn": painn,
    "sevennet-0": sevennet_0,
    "sevennet-l3i5": sevennet_l3i5,
}


def main() -> None:
    """Time one reference at several batch sizes and write down outputs, weights and seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=REFERENCES)
    parser.add_argument("molecules")
    parser.add_argument("out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", default="16,64,128")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with np.load(options.molecules) as stored:
        parts = stored["offsets"][1:-1]
        frames = [
            Atoms(numbers, positions)
            for numbers, positions in zip(
                np.split(stored["numbers"], parts),
                np.split(stored["positions"], parts),
                strict=True,
            )
        ]
    reference = REFERENCES[options.model]()
    seconds = {}
    with torch.no_grad():
        for size in map(int, options.batches.split(",")):
            batches = [reference.prepare(frames[k : k + size]) for k in range(0, len(frames), size)]
            outputs = [reference.call(batch).reshape(-1) for batch in batches]  # warm up
            runs = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                for batch in batches:
                    reference.call(batch)
                runs.append(time.perf_counter() - start)
            seconds[size] = runs
    np.savez(
        options.out,
        output=torch.cat(outputs).numpy(),
        seconds=json.dumps(seconds),
        config=json.dumps(reference.config),
        torch=torch.__version__,
        **{f"state/{k}": v.numpy() for k, v in reference.state.items()},
    )


if __name__ == "__main__":
    main()
