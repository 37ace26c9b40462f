"""Goldens of DimeNet++; environment_dimenet.txt pins what it ran in.

torch_geometric's own DimeNet++ in float64, with seeded weights, those of the last linear maps too,
which would begin at zero. Its neighbour list needs torch-cluster and its triplets torch-sparse:
both are replaced by index arithmetic, without a limit on the number of neighbours.

It rounds zeros and norms of spherical Bessel functions to float32 and uses closed forms of these
functions, which cancel at short distances. `dimenet_published` keeps the rounded constants; in the
other goldens the zeros are those in float64, and with them the norms.

It knows no cells either. For crystals it is given a finite piece with everything that the atoms of
one cell can hear of, and only these atoms are recorded.
"""

import common
import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch_geometric.nn.models import DimeNetPlusPlus, dimenet, dimenet_utils

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def radius_graph(pos, r, batch, max_num_neighbors):
    """Directed pairs j -> i within the cutoff."""
    near = (batch[:, None] == batch[None]) & ((pos[:, None] - pos[None]).norm(dim=-1) < r)
    near.fill_diagonal_(False)
    i, j = near.nonzero(as_tuple=True)
    return torch.stack([j, i])


def triplets(edge_index, num_nodes):
    """All pairs of edges k -> j, j -> i with k other than i."""
    j, i = edge_index
    follows = (i[:, None] == j[None]) & (j[:, None] != i[None])
    ji, kj = follows.T.nonzero(as_tuple=True)
    return i, j, i[ji], j[ji], j[kj], kj, ji


dimenet.radius_graph, dimenet.triplets = radius_graph, triplets
published_zeros = dimenet_utils.Jn_zeros


def exact_zeros(orders, count):
    near = published_zeros(orders, count).astype(np.float64)
    return np.array(
        [
            [brentq(lambda x, n=n: spherical_jn(n, x), z - 0.1, z + 0.1, xtol=1e-15) for z in row]
            for n, row in enumerate(near)
        ]
    )


def piece(frame, reach):
    """A frame's atoms, then all their images within `reach`."""
    if not frame.pbc.any():
        return frame
    _, j, shift = neighbor_list("ijS", frame, reach)
    images = np.unique(np.column_stack([j, shift])[shift.any(axis=1)], axis=0)
    positions = frame.positions[images[:, 0]] + images[:, 1:] @ frame.cell.array
    return Atoms(frame.numbers, frame.positions) + Atoms(frame.numbers[images[:, 0]], positions)


def record(model, frames):
    """What every output block holds before its last map, and the output."""
    layers, parts = {}, []
    for i, block in enumerate(model.output_blocks):
        name = "embedding" if i == 0 else f"interaction_{i - 1}"

        def hook(_, inputs, out, name=name):
            layers.update({name: inputs[0]})
            parts.append(out[:, 0])

        block.lin.register_forward_hook(hook)
    reach = (len(model.interaction_blocks) + 1) * model.cutoff
    pieces = [piece(f, reach) for f in frames]
    molecule = torch.repeat_interleave(
        torch.arange(len(frames)), torch.tensor([len(p) for p in pieces])
    )
    with torch.no_grad():
        output = model(
            torch.tensor(np.concatenate([p.numbers for p in pieces])),
            torch.tensor(np.concatenate([p.positions for p in pieces])),
            molecule,
        )
    own = torch.cat([torch.arange(len(p)) < len(f) for p, f in zip(pieces, frames, strict=True)])
    of_cells = torch.zeros(len(frames)).index_add(0, molecule[own], sum(parts)[own])
    if own.all():
        assert torch.allclose(of_cells, output[:, 0], rtol=1e-13)
    return {k: v[own].numpy() for k, v in layers.items()}, of_cells.numpy()


# The reference's defaults that no array tells: `from_state_dict` asks for them.
DEFAULTS = {"cutoff": 5.0, "envelope_exponent": 5, "act": "swish"}


def make(case, frames, scale, published=False, **config):
    dimenet_utils.Jn_zeros = published_zeros if published else exact_zeros
    model = DimeNetPlusPlus(**config).eval()
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items() if k != "rbf.freq"}
    frequencies = model.rbf.freq.detach().numpy().copy()
    frequencies *= 1 + 0.02 * np.sin(np.arange(len(frequencies)))
    state = {"rbf.freq": frequencies}
    weights = {**common.seeded(shapes, scale), **state}
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    layers, output = record(model, frames)
    for layer, values in layers.items():
        print(case, layer, values.shape, f"{np.abs(values).mean():.3g}")
    print(case, "output", output)
    common.save(
        case,
        frames,
        layers,
        output,
        tolerance=1e-6 if published else 1e-10,
        reason="zeros and norms of the Bessel functions in float32" if published else "",
        architecture="dimenet++",
        config=DEFAULTS | config,
        shapes=shapes,
        scale=scale,
        state=state,
    )


PUBLISHED = {
    "hidden_channels": 128,
    "out_channels": 1,
    "num_blocks": 4,
    "int_emb_size": 64,
    "basis_emb_size": 8,
    "out_emb_channels": 256,
    "num_spherical": 7,
    "num_radial": 6,
}
OTHER = {
    "hidden_channels": 24,
    "out_channels": 1,
    "num_blocks": 2,
    "int_emb_size": 10,
    "basis_emb_size": 5,
    "out_emb_channels": 16,
    "num_spherical": 4,
    "num_radial": 3,
    "cutoff": 3.2,
    "envelope_exponent": 4,
    "num_before_skip": 2,
    "num_after_skip": 1,
    "num_output_layers": 2,
    "act": "gelu",
}
SMALL = OTHER | {"hidden_channels": 12, "num_blocks": 1, "out_emb_channels": 10, "act": "silu"}
# Sums over many triplets would let states grow from block to block.
SCALE = {"*emb.weight": 1.0, "interaction*.lin_up.weight": 0.05, "*.bias": 0.3}

if __name__ == "__main__":
    sizes = PUBLISHED | {"num_blocks": 2}
    make("dimenet", common.molecules()[:6], SCALE, **sizes)
    make("dimenet_published", common.molecules()[:6], SCALE, published=True, **sizes)
    make("dimenet_other", common.molecules(), SCALE, **OTHER)
    make("dimenet_crystals", common.crystals(), SCALE, **SMALL)
