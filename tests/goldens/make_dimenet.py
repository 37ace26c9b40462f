"""Goldens of DimeNet++; environment_dimenet.txt pins what it ran in.

torch_geometric's own DimeNet++ in float64, with seeded weights, those of the last linear maps too,
which would begin at zero. Its neighbour list needs torch-cluster and its triplets torch-sparse:
both are replaced by index arithmetic, without a limit on the number of neighbours.

It rounds zeros and norms of spherical Bessel functions to float32 and uses closed forms of these
functions, which cancel at short distances and make more of that rounding. Two goldens have the
zeros in float64, which takes the norms along; `dimenet_published` keeps those of the reference.
"""

import common
import numpy as np
import torch
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


def record(model, frames):
    """What every output block holds before its last map, and the output."""
    layers = {}
    for i, block in enumerate(model.output_blocks):
        name = "embedding" if i == 0 else f"interaction_{i - 1}"
        block.lin.register_forward_pre_hook(
            lambda _, inputs, name=name: layers.update({name: inputs[0].numpy()})
        )
    sizes = torch.tensor([len(f) for f in frames])
    with torch.no_grad():
        output = model(
            torch.tensor(np.concatenate([f.numbers for f in frames])),
            torch.tensor(np.concatenate([f.positions for f in frames])),
            torch.repeat_interleave(torch.arange(len(frames)), sizes),
        )
    return layers, output[:, 0].numpy()


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
        reason="constants of the basis in float32" if published else "",
        architecture="dimenet++",
        config=config,
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
SCALE = {"*emb.weight": 1.0, "*.bias": 0.3}

if __name__ == "__main__":
    make("dimenet", common.molecules()[:6], SCALE, **PUBLISHED | {"num_blocks": 2})
    make("dimenet_other", common.molecules(), SCALE, **OTHER)
    make("dimenet_published", common.molecules()[:6], SCALE, True, **PUBLISHED | {"num_blocks": 2})
