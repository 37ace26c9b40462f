"""Goldens of SchNet; environment_schnet.txt pins what it ran in.

torch_geometric's own SchNet in float64, with seeded weights; its neighbour list needs
torch-cluster, so one is passed that lists every pair within the cutoff.
"""

import common
import numpy as np
import torch
from torch_geometric.nn.models import SchNet

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


class EveryPair(torch.nn.Module):
    """Directed pairs within the cutoff, and their lengths."""

    def __init__(self, cutoff):
        super().__init__()
        self.cutoff = cutoff

    def forward(self, pos, batch):
        distances = (pos[:, None] - pos[None]).norm(dim=-1)
        near = (batch[:, None] == batch[None]) & (distances < self.cutoff)
        near.fill_diagonal_(False)
        i, j = near.nonzero(as_tuple=True)
        return torch.stack([j, i]), distances[i, j]


# The reference's defaults that no array tells: `from_state_dict` asks for them.
DEFAULTS = {"readout": "add", "mean": None, "std": None}


def make(case, scale, atomref=None, **config):
    frames = common.molecules()
    z = torch.tensor(np.concatenate([f.numbers for f in frames]))
    positions = torch.tensor(np.concatenate([f.positions for f in frames]))
    batch = torch.repeat_interleave(
        torch.arange(len(frames)), torch.tensor([len(f) for f in frames])
    )
    model = SchNet(
        **config,
        interaction_graph=EveryPair(config.get("cutoff", 10.0)),
        atomref=None if atomref is None else torch.tensor(atomref),
    ).eval()
    second = {k: k.replace("conv.nn", "mlp") for k in model.state_dict() if ".conv.nn." in k}
    kept = {"distance_expansion.offset", "initial_atomref"} & set(model.state_dict())
    state = {k: v.numpy() for k, v in model.state_dict().items() if k in kept}
    shapes = {
        k: tuple(v.shape)
        for k, v in model.state_dict().items()
        if k not in kept and k not in second
    }
    weights = {**common.seeded(shapes, scale), **state}
    weights |= {k: weights[v] for k, v in second.items()}
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})

    layers = {}
    model.interactions[0].register_forward_pre_hook(
        lambda _, inputs: layers.update(embedding=inputs[0])
    )
    for i, block in enumerate(model.interactions):
        block.register_forward_hook(
            lambda _, inputs, out, i=i: layers.update({f"interaction_{i}": inputs[0] + out})
        )
    model.act.register_forward_hook(lambda _, inputs, out: layers.update(readout=out))
    with torch.no_grad():
        output = model(z, positions, batch)[:, 0].numpy()
        layers = {k: v.numpy() for k, v in layers.items()}
    for layer, values in layers.items():
        print(case, layer, f"{np.abs(values).mean():.3g}")
    print(case, "output", output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="schnet",
        config=DEFAULTS | config,
        shapes=shapes,
        scale=scale,
        state=state,
    )


SCALE = {"embedding.weight": 1.0, "*.weight": 0.2, "*.bias": 0.3}
WIDE = SCALE | {"*.weight": 0.08}
make("schnet", WIDE, num_interactions=3)
make(
    "schnet_other",
    SCALE,
    atomref=np.linspace(-3, 2, 100)[:, None],
    hidden_channels=48,
    num_filters=32,
    num_interactions=2,
    num_gaussians=17,
    cutoff=3.5,
    mean=0.7,
    std=1.9,
)
