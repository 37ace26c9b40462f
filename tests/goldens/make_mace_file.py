"""A small MACE file, as mace-torch saves one, and what it predicts; environment_mace.txt as before.

    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python make_mace_file.py

`mace_tiny.model.xz` is the file of `torch.save(model)`, compressed: three quarters of it are
compiled modules. `mace_tiny.npz` holds structures, node features and energies, in mace's order.
"""

import io
import lzma

import common
import make_mace
import numpy as np
import torch

CONFIG = {
    "r_max": 4.0,
    "num_bessel": 5,
    "num_polynomial_cutoff": 5,
    "max_ell": 2,
    "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
    "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
    "num_interactions": 2,
    "hidden_irreps": "4x0e + 4x1o",
    "MLP_irreps": "3x0e",
    "avg_num_neighbors": 6.5,
    "atomic_numbers": [1, 6, 8],
    "correlation": [3, 2],
    "gate": "silu",
    "radial_MLP": [6, 7],
    "distance_transform": "Agnesi",
    "pair_repulsion": True,
    "heads": ["first", "second"],
    "head": "second",
}


def main():
    torch.manual_seed(0)
    energies = np.array([[-1.0, -2.0, -3.0], [-1.5, -2.5, -3.5]])
    scales = {"atomic_inter_scale": [0.7, 1.2], "atomic_inter_shift": [0.1, -0.2]}
    model = make_mace.build(CONFIG, energies, **scales)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            factor = {"linear": 3.0, "skip_tp": 2.0}.get(name.split(".")[-2], 1.0)
            parameter *= factor
    file = io.BytesIO()
    torch.save(model, file)
    content = file.getvalue()
    (common.FOLDER / "mace_tiny.model.xz").write_bytes(lzma.compress(content, preset=9))
    frames = [common.molecules()[k] for k in (0, 2, 3)]
    data = make_mace.inputs(frames, CONFIG["atomic_numbers"], CONFIG["r_max"], 1)
    found = torch.load(io.BytesIO(content), weights_only=False)(data, compute_force=False)
    print(found["energy"], found["node_feats"].abs().mean(0))
    np.savez_compressed(
        common.FOLDER / "mace_tiny.npz",
        numbers=np.concatenate([f.numbers for f in frames]),
        positions=np.concatenate([f.positions for f in frames]),
        offsets=np.cumsum([0, *map(len, frames)]),
        energy=found["energy"].detach().numpy(),
        node_feats=found["node_feats"].detach().numpy(),
    )


if __name__ == "__main__":
    main()
