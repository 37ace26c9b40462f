"""The study of crystals on planted features: scores, the choice of a layer, and what is refused."""

import numpy as np
import pytest
from e3nn_jax import IrrepsArray
from helpers import one_line
from oracle import cpd as by_scikit_learn

from cpdjax import Structures, composition
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.probes.folds import kfold
from cpdjax.studies.crystals import records, study


def crystals(name, seed, *, one_element=False):
    """Cells of two to four atoms of carbon and silicon, whose edge is the target beside counts."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 5, 80)
    numbers = np.full(sizes.sum(), 6) if one_element else rng.choice([6, 14], sizes.sum())
    edges = rng.uniform(3, 5, 80)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    share = np.add.reduceat(numbers == 14, offsets[:-1]) / sizes
    return Structures(
        name,
        numbers,
        rng.uniform(0, 3, (sizes.sum(), 3)),
        offsets,
        cells=edges[:, None, None] * np.eye(3),
        pbc=np.ones((80, 3), bool),
        targets={"energy": edges + 2 * share},
        ids=np.array([f"{name}-{i}" for i in range(80)]),
    )


def features(structures, model="toy"):
    """A layer that knows the edge, and a last one that does not."""
    rng = np.random.default_rng(len(structures.name))
    edges = structures.cells[:, 0, 0]
    known = np.column_stack([edges + 0.1 * rng.normal(size=80), rng.normal(size=(80, 2))])
    layers = {"interaction_0": known, "interaction_1": rng.normal(size=(80, 3))}
    return Features(
        {layer: IrrepsArray("3x0e", x) for layer, x in layers.items()},
        model=model,
        pool="mean",
        structures_hash=structures.geometry_hash,
    )


@pytest.fixture(scope="module")
def found():
    own, others = crystals("own", 0), crystals("others", 1)
    rows = study(
        own, [features(own)], ["energy"], others=(others, [features(others)]), alpha=1.0, repeats=2
    )
    return own, {row.pick: row for row in rows}


def test_the_best_layer_is_that_which_knows_the_geometry_of_other_crystals(found):
    _, rows = found
    assert (rows["last"].layer, rows["best"].layer) == ("interaction_1", "interaction_0")
    assert rows["best"].r2_geom.low > 0.1
    assert rows["last"].r2_geom.value < 0.1
    assert rows["best"].r2_comp == rows["last"].r2_comp


def test_scores_are_those_of_scikit_learn_on_fractions(found):
    own, rows = found
    x = np.asarray(features(own)["interaction_0"].array)
    fractions = composition(own, fractions=True)
    scores = [
        by_scikit_learn(x, fractions, own.target("energy")[:, None], kfold(80, 5, seed=seed), [1.0])
        for seed in range(2)
    ]
    for kind in ("r2_comp", "r2_geom", "r2_full"):
        expected = np.mean([np.mean(getattr(one, kind)) for one in scores])
        assert getattr(rows["best"], kind).value == pytest.approx(expected, abs=1e-9)


def test_where_composition_is_constant_everything_is_geometry():
    own, others = (crystals(f"carbon{i}", i, one_element=True) for i in range(2))
    rows = study(own, [features(own)], ["energy"], others=(others, [features(others)]), alpha=1.0)
    best = next(row for row in rows if row.pick == "best")
    assert -0.1 < best.r2_comp.value <= 0
    assert best.r2_geom.value == pytest.approx(best.r2_full.value, abs=1e-9)
    assert best.r2_geom.value > 0.8
    assert records(rows)[0]["r2_comp"].startswith(("-0.0", "0.0"))


def test_crystals_that_choose_the_layer_are_not_those_that_are_scored():
    own = crystals("own", 0)
    other = crystals("others", 1)
    with pytest.raises(InputError) as caught:
        study(own, [features(own)], ["energy"], others=(own, [features(own)]))
    one_line(caught, "80 of the crystals", "other crystals")
    with pytest.raises(InputError) as caught:
        study(own, [features(other)], ["energy"], others=(other, [features(other)]))
    one_line(caught, "toy", "not those of 'own'")
