"""Goldens of ViSNet; environment_visnet.txt pins what it ran in.

torch_geometric's own ViSNet in float64, with seeded weights; its neighbour list needs
torch-cluster, so it is replaced by one that lists every pair within the cutoff, and loops.
"""

import common
import numpy as np
import torch
import torch_geometric.nn.models.visnet as reference

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def every_pair(x, r, batch, loop, max_num_neighbors):
    """Directed pairs within the cutoff, each atom with itself too; none may have too many."""
    distances = (x[:, None] - x[None]).norm(dim=-1)
    near = (batch[:, None] == batch[None]) & (distances < r)
    near.fill_diagonal_(loop)
    if near.sum(1).max() > max_num_neighbors:
        raise ValueError("an atom has more neighbours than the reference would keep")
    i, j = near.nonzero(as_tuple=True)
    return torch.stack([j, i])


reference.radius_graph = every_pair


def flat(x, vec):
    """Scalars, then each degree as (channel, m)."""
    parts = [vec[:, :3], vec[:, 3:]]
    return torch.cat([x, *(p.transpose(1, 2).reshape(len(x), -1) for p in parts)], dim=1)


def watch(model):
    """Hooks that collect the layers."""
    layers, body = {}, model.representation_model

    def record(i):
        def hook(_, inputs, out):
            layers[f"interaction_{i}"] = flat(inputs[0] + out[0], inputs[1] + out[1])

        return hook

    body.neighbor_embedding.register_forward_hook(lambda _, __, out: layers.update(embedding=out))
    for i, block in enumerate(body.vis_mp_layers):
        block.register_forward_hook(record(i))
    model.output_model.output_network[0].register_forward_hook(
        lambda _, __, out: layers.update(readout=flat(*out))
    )
    return layers


# The reference's defaults that no array tells: `from_state_dict` asks for them.
DEFAULTS = {
    "lmax": 1,
    "num_heads": 8,
    "vecnorm_type": None,
    "reduce_op": "sum",
    "cutoff": 5.0,
}


def make(case, frames, scale, atomref=None, **config):
    z = torch.tensor(np.concatenate([f.numbers for f in frames]))
    positions = torch.tensor(np.concatenate([f.positions for f in frames]))
    sizes = torch.tensor([len(f) for f in frames])
    batch = torch.repeat_interleave(torch.arange(len(frames)), sizes)
    atomref = None if atomref is None else torch.tensor(atomref)
    model = reference.ViSNet(**config, atomref=atomref).eval()
    dictionary = model.state_dict()
    # What is not trained, and the basis, whose exponents must be positive.
    names = {name for name, _ in model.named_buffers()}
    names |= {name for name in dictionary if "distance_expansion" in name}
    state = {name: dictionary[name].numpy().copy() for name in names}
    rng = np.random.default_rng(3)
    for name in sorted(names - {"mean", "std", "prior_model.initial_atomref"}):
        state[name] *= 1 + 0.3 * rng.normal(size=state[name].shape)
    shapes = {name: tuple(v.shape) for name, v in dictionary.items() if name not in names}
    weights = {**common.seeded(shapes, scale), **state}
    model.load_state_dict({name: torch.tensor(v) for name, v in weights.items()})
    layers = watch(model)
    with torch.no_grad():
        output = model(z, positions, batch)[0][:, 0].numpy()
    layers = {name: values.numpy() for name, values in layers.items()}
    scalars = config["hidden_channels"]
    for layer, values in layers.items():
        count = scalars // 2 if layer == "readout" else scalars
        parts = np.split(values, [count, 4 * count], axis=1)
        print(case, layer, *[f"{np.abs(part).mean():.3g}" for part in parts if part.size])
    print(case, "output", output)
    common.save(
        case,
        frames,
        layers,
        output,
        architecture="visnet",
        config=DEFAULTS | config,
        shapes=shapes,
        scale=scale,
        state=state,
    )


SCALE = {
    "*embedding.weight": 1.0,
    "*vec_layernorm.weight": 1.0,
    "*norm.weight": 0.7,
    "*atomref.weight": 1.0,
    "*.bias": 0.3,
}
make(
    "visnet",
    common.molecules()[:6],
    SCALE,
    lmax=2,
    num_layers=3,
    hidden_channels=32,
)
# Without CO2, whose carbon has vectors of zero that "max_min" would scale from rounding errors.
frames = [f for f in common.molecules() if str(f.symbols) != "CO2"]
make(
    "visnet_other",
    frames,
    SCALE,
    atomref=np.linspace(-3, 2, 30)[:, None],
    lmax=1,
    vecnorm_type="max_min",
    trainable_vecnorm=True,
    num_heads=4,
    num_layers=4,
    hidden_channels=24,
    num_rbf=9,
    trainable_rbf=True,
    max_z=30,
    cutoff=3.1,
    vertex=True,
    mean=0.7,
    std=1.9,
)
make(
    "visnet_vertex",
    frames[:5],
    SCALE,
    lmax=2,
    vecnorm_type="max_min",
    num_heads=2,
    num_layers=3,
    hidden_channels=16,
    num_rbf=12,
    vertex=True,
    reduce_op="mean",
    mean=-0.4,
)
