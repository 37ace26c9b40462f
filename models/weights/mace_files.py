"""mace-torch's model files, as `torch.save(model)` writes them, read without torch.

The classes of torch, e3nn and mace in such a file become inert records (`torch_files`), from whose
attributes the constructor's arguments follow; compiled modules inside it are bytes that nobody
reads. Refused: any other class, and any other model than MACE and ScaleShiftMACE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cpdjax.errors import FileError
from cpdjax.models.weights import torch_files
from cpdjax.models.weights.torch_files import Module

_KINDS = ("mace.modules.models.MACE", "mace.modules.models.ScaleShiftMACE")
_TRUSTED = ("mace", "e3nn", "torch")
_BASES = {"BesselBasis": "bessel", "GaussianBasis": "gaussian", "ChebychevBasis": "chebyshev"}
# The records of another version, or of a damaged file, can raise these.
_UNEXPECTED = (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError)
_TRANSFORMS = {"AgnesiTransform": "Agnesi", "SoftTransform": "Soft"}


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read configuration and state dict, for `cpdjax.models.from_state_dict("mace", …)`.

    Raises:
        FileError: the file cannot be read, or holds anything but one of the two models.
    """
    model = torch_files.read(path, _TRUSTED)
    if not isinstance(model, Module) or model.path not in _KINDS:
        kind = model.path if isinstance(model, Module) else f"a {type(model).__name__}"
        raise FileError(
            f"{path} holds {kind}, not a MACE or ScaleShiftMACE; a checkpoint or a state dict has "
            "no hyperparameters: save the model itself, torch.save(model, FILE)"
        )
    try:
        return config_of(model), torch_files.state_dict(model)
    except _UNEXPECTED as error:
        reason = " ".join(str(error).split())
        raise FileError(
            f"{path} is of a version of mace-torch that is not read: {reason}"
        ) from None


def config_of(model: Module) -> dict[str, Any]:
    """Return the constructor's arguments; what older versions did not know has its default."""
    interactions, products = _items(model.interactions), _items(model.products)
    embedding = model.radial_embedding
    config: dict[str, Any] = {
        "r_max": float(model.r_max),
        "num_bessel": int(embedding.out_dim),
        "num_polynomial_cutoff": int(embedding.cutoff_fn.p),
        "max_ell": max(degree for _, degree, _ in _irreps(interactions[0].edge_attrs_irreps)),
        "interaction_cls": _class(interactions[-1]),
        "interaction_cls_first": _class(interactions[0]),
        "num_interactions": len(interactions),
        "hidden_irreps": _text(products[0].linear.irreps_out),
        "avg_num_neighbors": float(np.asarray(interactions[0].avg_num_neighbors)),
        "atomic_numbers": [int(number) for number in model.atomic_numbers],
        "correlation": [_correlation(product) for product in products],
        "radial_MLP": [int(n) for n in interactions[0].conv_tp_weights.hs[1:-1]],
        "radial_type": _BASES.get(_class(embedding.bessel_fn), _class(embedding.bessel_fn)),
        "distance_transform": "None",
        "pair_repulsion": hasattr(model, "pair_repulsion_fn"),
        "apply_cutoff": bool(getattr(model, "apply_cutoff", True)),
        "heads": list(getattr(model, "heads", None) or ["Default"]),
    }
    if hasattr(embedding, "distance_transform"):
        name = _class(embedding.distance_transform)
        config["distance_transform"] = _TRANSFORMS.get(name, name)
    config["use_embedding_readout"] = hasattr(model, "embedding_readout")
    config["embedding_specs"] = getattr(model, "embedding_specs", None)
    for name in ("use_so3", "use_agnostic_product", "use_last_readout_only"):
        config[name] = bool(getattr(model, name, False))
    edges = [_text(block.edge_irreps) for block in interactions if hasattr(block, "edge_irreps")]
    own = [_text(block.node_feats_irreps) for block in interactions]
    config["edge_irreps"] = None if edges in ([], own) else edges[-1]
    last = _text(products[-1].linear.irreps_out)
    config["keep_last_layer_irreps"] = len(products) > 1 and last == config["hidden_irreps"]
    return config | _readout(model, len(config["heads"]))


def _readout(model: Module, heads: int) -> dict[str, Any]:
    """Return the arguments of the last readout; without a hidden layer, those that say so."""
    readout = _items(model.readouts)[-1]
    name = _class(readout)
    if name == "LinearReadoutBlock":
        return {"MLP_irreps": "1x0e", "gate": None}
    hidden = [
        (mul // heads, degree, parity) for mul, degree, parity in _irreps(readout.hidden_irreps)
    ]
    gate = None
    if hasattr(readout, "non_linearity"):
        activation = _items(readout.non_linearity.acts)[0]
        function = activation.f if isinstance(activation, Module) else None
        gate = getattr(function, "__name__", function)
    return {"readout_cls": name, "MLP_irreps": _join(hidden), "gate": gate}


def _correlation(product: Module) -> int:
    return int(_items(product.symmetric_contractions.contractions)[0].correlation)


def _items(modules: Module) -> list[Any]:
    """Return the members of a `ModuleList`."""
    return list(modules.attributes["_modules"].values())


def _class(module: Module) -> str:
    return module.path.rpartition(".")[2]


def _irreps(record: Any) -> list[tuple[int, int, int]]:
    """Return (multiplicity, degree, parity) of a record of e3nn's `Irreps`, nested tuples."""
    (entries,) = record.arguments
    found = []
    for entry in entries:
        ((mul, irrep),) = entry.arguments
        ((degree, parity),) = irrep.arguments
        found.append((int(mul), int(degree), int(parity)))
    return found


def _text(irreps: Any) -> str:
    return irreps if isinstance(irreps, str) else _join(_irreps(irreps))


def _join(irreps: list[tuple[int, int, int]]) -> str:
    return "+".join(f"{mul}x{degree}{'e' if p == 1 else 'o'}" for mul, degree, p in irreps)
