"""SO3krates beside its goldens: options refused, charge and spin, cells where sums end."""

import math

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
from cpdjax.models.blocks import long_range
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


@pytest.mark.slow
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
    mask = batch.mask.copy()
    mask[3] = False
    charge, unpaired = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 0])
    batch = batch._replace(mask=mask, charge=charge, unpaired=unpaired)

    def energy(positions):
        output = encoder.output(batch._replace(positions=positions))
        return output.sum(), output

    gradient, output = jax.jit(jax.grad(energy, has_aux=True))(batch.positions)
    assert len(set(np.round(output[:3], 6).tolist())) == 3
    assert output[3] == 0
    assert np.isfinite(gradient).all()


def switch(x, on, off):
    """1 before `on`, 0 behind `off`, smooth between."""
    c = (x - on) / (off - on)
    up, down = (np.exp(-1 / np.where(y > 0, y, 1)) * (y > 0) for y in (1 - c, c))
    return up / (up + down + 1e-12)


def test_the_long_range_cutoff_is_that_of_the_calculator():
    """Electrostatics as pairs of shifted forces, dispersion times a switch, as the package says."""
    cutoff, width, scale = 5.0, 2.0, 4.0
    rng = np.random.default_rng(3)
    positions, q = rng.normal(size=(6, 3)) * 3, rng.normal(size=6)
    r = np.linalg.norm(positions[:, None] - positions, axis=-1) + np.eye(6)
    pair = ~np.eye(6, dtype=bool)
    assert ((r > cutoff) & pair).any()
    assert ((r < cutoff) & (r > 0.45 * cutoff) & pair).any()
    erf = np.vectorize(math.erf)
    potential = erf(r / scale) / r
    end = math.erf(cutoff / scale) / cutoff
    force = (2 * cutoff * math.exp(-((cutoff / scale) ** 2)) / (math.sqrt(math.pi) * scale)
             - math.erf(cutoff / scale)) / cutoff**2  # fmt: skip
    f = switch(r, 0.45 * cutoff, cutoff)
    shifted = potential - end - force * (r - cutoff)
    both = np.where(pair & (r < cutoff), f * (potential - end) + (1 - f) * shifted, 0)
    expected = 0.5 * long_range.COULOMB * q * (both @ q)
    with jax.enable_x64(True):
        found = long_range.coulomb(q[None], r[None], pair[None], scale, cutoff)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        whole = long_range.coulomb(q[None], r[None], pair[None], scale, 1e6)
        np.testing.assert_allclose(
            whole, long_range.coulomb(q[None], r[None], pair[None], scale), atol=1e-4
        )
        ours = long_range._switch(jax.numpy.asarray((r - cutoff + width) / width))
    np.testing.assert_allclose(ours, switch(r, cutoff - width, cutoff), atol=1e-12)


def so3lr(**options):
    try:
        return load("so3lr", **options)
    except FileError as absent:
        pytest.skip(str(absent))


@pytest.mark.slow
def test_so3lr_takes_the_cutoff_of_its_calculator():
    """It changes the energy of two molecules far apart, not their features."""
    near = molecule("H2O")
    frame = near + near
    frame.positions[3:] += [7.0, 0, 0]
    structures = Structures.from_atoms([frame])
    plain, cut, far = so3lr(), so3lr(long_range_cutoff=12.0), so3lr(long_range_cutoff=1000.0)
    assert (plain.architecture.long_range.cutoff, cut.architecture.long_range.cutoff) == (None, 12)
    batch = padded(plain, structures, np.arange(1), 6)
    energies = [float(model.output(batch)[0]) for model in (plain, cut, far)]
    assert abs(energies[1] - energies[0]) > 0.1
    # Potentials are shifted by their value at the cutoff, which falls as its inverse.
    assert energies[2] == pytest.approx(energies[0], abs=2 * abs(energies[1] - energies[0]) / 80)
    for layer, features in plain.features(batch).items():
        np.testing.assert_allclose(features.array, cut.features(batch)[layer].array, rtol=1e-6)
    for wrong in (0.0, -1.0, 2.0, float("nan"), "far", True):
        with pytest.raises(InputError, match="cutoff"):
            load("so3lr", long_range_cutoff=wrong)
    with pytest.raises(UnknownNameError, match="did you mean long_range_cutoff"):
        load("so3lr", long_range_cut=12.0)
