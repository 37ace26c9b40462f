"""SO3krates beside its goldens: options refused, charge and spin, cells where sums end."""

import jax
import numpy as np
import pytest
from ase.build import molecule

from cpdjax import Structures
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models import Encoder, from_state_dict, load, save
from cpdjax.models.architectures import so3krates
from cpdjax.models.architectures.so3krates import So3krates
from cpdjax.models.blocks.long_range import LongRange
from cpdjax.models.weights.translate import shapes

CONFIG = {"r_max": 4.0, "degrees": [1, 2], "num_features": 8, "num_heads": 2}
WIDTH = {"dispersion_energy_cutoff_lr_damping": 2.0}
WITH_TERMS = {"zbl_repulsion.a1_raw": np.ones(1)}


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"cutoff_fn": "exponential"}, "cutoff function 'exponential'"),
        ({"radial_basis_fn": "bessel"}, "radial basis 'bessel'"),
        ({"activation_fn": "mish"}, "activation 'mish'"),
        ({"energy_activation_fn": "mish"}, "activation 'mish'"),
        ({"qk_non_linearity": "mish"}, "activation 'mish'"),
        ({"message_normalization": "degree"}, "message normalization 'degree'"),
    ],
)
def test_options_that_are_not_ported_are_refused(option, match):
    for state in ({}, WITH_TERMS):
        with pytest.raises(UnknownNameError, match=match) as caught:
            from_state_dict("so3krates", CONFIG | option, state)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "state", "match"),
    [
        (CONFIG | {"r_max_lr": 12.0}, WITH_TERMS, "dispersion_energy_cutoff_lr_damping"),
        (CONFIG | {"r_max_lr": 1.5} | WIDTH, WITH_TERMS, "larger than 2.0 Å"),
        (CONFIG | {"r_max_lr": -12.0} | WIDTH, WITH_TERMS, "cutoff: Input should be greater"),
        (CONFIG, WITH_TERMS, "lacks 'r_max_lr'"),  # 12 Å is the reference's default
        (CONFIG | {"r_max_lr": None, "use_pme": True}, WITH_TERMS, "mesh"),
        ({"r_max": 4.0}, {}, "lacks 'degrees'"),
        (CONFIG, {"embedding.weight": np.ones((3, 3))}, "another architecture"),
    ],
)
def test_bad_input_is_refused_in_one_line(config, state, match):
    with pytest.raises(InputError, match=match) as caught:
        from_state_dict("so3krates", config, state)
    assert "\n" not in str(caught.value)


def test_a_model_with_long_range_terms_is_saved(tmp_path):
    module = So3krates(num_features=8, num_heads=2, degrees=(1, 2), num_layers=1,
                       long_range=LongRange(6, "tanh", True, 4.0, None))  # fmt: skip
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes(module))
    save(tmp_path / "mine", Encoder("mine", module, variables))
    assert load(tmp_path / "mine").architecture == module
    record = (tmp_path / "mine" / "model.json").read_text()
    (tmp_path / "mine" / "model.json").write_text(record.replace("long-range", "pairs"))
    with pytest.raises(FileError, match="'pairs' is not known"):
        load(tmp_path / "mine")


def test_the_hash_of_the_terms_holds_no_address():
    """As Flax prints a function without a name, such as that of "gelu"."""
    module = So3krates(energy_activation_fn="gelu")
    terms = so3krates._long_range(module, {"r_max_lr": None}, WITH_TERMS)
    structure = jax.tree.structure(Encoder("mine", module.clone(long_range=terms), {}))
    assert "zbl = True" in str(structure)
    assert " at 0x" not in str(structure)


def test_what_is_no_hyperparameter_is_not_saved(tmp_path):
    module = So3krates(long_range=jax.nn.silu)
    with pytest.raises(InputError, match="cannot be saved"):
        save(tmp_path / "mine", Encoder("mine", module, {}))
    assert list(tmp_path.iterdir()) == []


def test_cells_are_known_where_all_sums_end_at_the_cutoff():
    def terms(electrostatic, dispersion):
        return So3krates(long_range=LongRange(None, "silu", True, electrostatic, dispersion))

    assert So3krates().periodic
    assert terms(None, None).periodic
    assert not terms(4.0, None).periodic
    assert not terms(None, 1.2).periodic


def test_charge_and_unpaired_electrons_are_read():
    """Also a batch with a row of nothing but padding stays finite, derivatives included."""
    module = So3krates(num_features=8, num_heads=2, degrees=(1, 2), num_layers=1,
                       num_radial_basis_fn=4, use_charge_embed=True, use_spin_embed=True,
                       long_range=LongRange(6, "silu", True, 4.0, 1.2))  # fmt: skip
    draw = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape) / 3, shapes(module))
    structures = Structures.from_atoms([molecule("H2O")] * 4)
    encoder = Encoder("mine", module, variables)
    batch = padded(encoder, structures, np.arange(4), 3)
    mask, edges = batch.mask.copy(), batch.edges
    mask[3] = False
    edges = edges._replace(mask=edges.mask & mask[:, :, None])
    batch = batch._replace(mask=mask, edges=edges, charge=np.array([0, 1, 0, 0]),
                           unpaired=np.array([0, 0, 1, 0]))  # fmt: skip

    def energy(positions):
        output = encoder.output(batch._replace(positions=positions))
        return output.sum(), output

    gradient, output = jax.jit(jax.grad(energy, has_aux=True))(batch.positions)
    assert len(set(np.round(output[:3], 6).tolist())) == 3
    assert output[3] == 0
    assert np.isfinite(gradient).all()
