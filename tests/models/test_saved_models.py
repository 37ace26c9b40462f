"""Folders of saved models: what format 1, that of version 0.1.0, wrote is read like format 2."""

import hashlib
import io
import json
import tracemalloc
import zipfile

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cpdjax import checksums
from cpdjax.errors import FileError, InputError
from cpdjax.models import Encoder, load, registry, save
from cpdjax.models.architectures.painn import PaiNN
from cpdjax.models.architectures.schnet import SchNet
from cpdjax.models.architectures.so3krates import So3krates
from cpdjax.models.blocks.long_range import LongRange
from cpdjax.models.training.standardized import Standardized
from cpdjax.models.weights.saved_models import _FORMAT_1
from cpdjax.models.weights.translate import shapes

PAINN = {"n_atom_basis": 8, "n_interactions": 1, "cutoff": 4.0}
TERMS = {"width": 6, "activation": "tanh", "zbl": True, "electrostatic_scale": 4.0,
         "dispersion_scale": None}  # fmt: skip
SO3KRATES = {"num_features": 8, "num_heads": 2, "degrees": [1, 2], "num_layers": 1}
#: What version 0.1.0 wrote of a module, and the module.
WRITTEN = {
    "plain": (
        {"module": "cpdjax.models.schnet.SchNet", "fields": {"hidden_channels": 8}},
        SchNet(hidden_channels=8),
    ),
    "standardized": (
        {
            "module": "cpdjax.models.standardized.Standardized",
            "fields": {
                "network": {"module": "cpdjax.models.painn.PaiNN", "fields": PAINN},
                "elements": [1, 8],
            },
        },
        Standardized(PaiNN(**PAINN), (1, 8)),
    ),
    "long range": (
        {
            "module": "cpdjax.models.so3krates.So3krates",
            "fields": SO3KRATES
            | {"long_range": {"module": "cpdjax.models.long_range.LongRange", "fields": TERMS}},
        },
        So3krates(**SO3KRATES | {"degrees": (1, 2)}, long_range=LongRange(**TERMS)),
    ),
}


def random_weights(module):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes(module))


def write_format_1(folder, record, variables):
    """Write a folder as version 0.1.0 did."""
    folder.mkdir()
    np.savez(folder / "weights.npz", **flatten_dict(variables, sep="/"))
    digest = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    facts = {"format": 1, "cpdjax": "0.1.0", "name": "mine", "aggregate": "mean", "origin": {}}
    (folder / "model.json").write_text(json.dumps({**facts, **record, "sha256": digest}))


@pytest.mark.parametrize("case", WRITTEN)
def test_format_1_is_read_like_format_2(case, tmp_path):
    record, module = WRITTEN[case]
    variables = random_weights(module)
    write_format_1(tmp_path / "old", record, variables)
    save(tmp_path / "new", Encoder("mine", module, variables, "mean"))
    assert "cpdjax.models" not in (tmp_path / "new" / "model.json").read_text()
    old, new = load(tmp_path / "old"), load(tmp_path / "new")
    assert old.architecture == new.architecture == module
    assert (old.name, old.aggregate) == (new.name, new.aggregate) == ("mine", "mean")
    assert jax.tree.structure(old) == jax.tree.structure(new)
    jax.tree.map(np.testing.assert_array_equal, old.variables, new.variables)


def test_format_1_knows_every_class_of_its_version():
    """Every name that it stands for is registered, and no class was there under two paths.

    Architectures that came later are not there.
    """
    assert set(_FORMAT_1.values()) <= {*registry.names("architecture", "part")}
    for path, name in _FORMAT_1.items():
        assert registry.class_of(name).__name__ == path.rpartition(".")[2]


def test_paths_of_format_1_are_no_names_of_format_2(tmp_path):
    record, module = WRITTEN["plain"]
    write_format_1(tmp_path / "old", {**record, "format": 2}, random_weights(module))
    with pytest.raises(FileError, match=r"'cpdjax\.models\.schnet\.SchNet' is not known"):
        load(tmp_path / "old")


def test_a_class_that_is_not_registered_is_not_saved(tmp_path):
    class Unregistered(nn.Module):
        pass

    for module in (Unregistered(), Standardized(Unregistered(), (1,))):
        with pytest.raises(InputError, match="Unregistered is not registered") as caught:
            save(tmp_path / "mine", Encoder("mine", module, {}))
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_interactions", 100_000),
        ("num_interactions", 2.0),
        ("num_interactions", True),
        ("hidden_channels", 10**9),
        ("num_gaussians", 10**12),
        ("num_filters", "8"),
        ("cutoff", -5.0),
        ("cutoff", 1e300),
        ("cutoff", None),
        ("mean", [1.0] * 1000),
        ("depth", 3),
    ],
)
def test_a_record_out_of_bounds_is_refused_though_its_hash_is_right(field, value, tmp_path):
    """In one line, before arrays are made: a whole machine's memory would not do for some."""
    module = SchNet(hidden_channels=8)
    save(tmp_path / "mine", Encoder("mine", module, random_weights(module)))
    record = json.loads((tmp_path / "mine" / "model.json").read_text())
    record["fields"][field] = value
    (tmp_path / "mine" / "model.json").write_text(json.dumps(record))
    names = ("model.json", "weights.npz")
    checksums.write(tmp_path / "mine", {name: tmp_path / "mine" / name for name in names})
    tracemalloc.start()
    with pytest.raises(FileError, match=field) as caught:
        load(tmp_path / "mine")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert most < 20e6


def test_an_array_that_claims_much_is_not_made(tmp_path):
    module = SchNet(hidden_channels=8)
    save(tmp_path / "mine", Encoder("mine", module, random_weights(module)))
    path = tmp_path / "mine" / "weights.npz"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = "params/lin2/bias.npy"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in (entries | {name: header.getvalue()}).items():
            archive.writestr(entry, content)
    record = json.loads((tmp_path / "mine" / "model.json").read_text())
    record["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "mine" / "model.json").write_text(json.dumps(record))
    with pytest.raises(FileError, match="not those of the hyperparameters"):
        load(tmp_path / "mine")
