"""Permuted channels are measured as those prepared anew for every permutation are."""

import numpy as np
import pytest
from likeness_oracle import measures, stack_of

from cpdjax.likeness import chance, forms
from cpdjax.likeness.chance import Chance
from cpdjax.likeness.prepared import prepare
from cpdjax.uncertainty.resampling import orders

ROWS = 60
LINEAR = ("r2", "cka", "cka_debiased", "cca")


def stack(kind):
    """Channels whose rows change places within formulas; one wide, one with columns to drop."""
    rng = np.random.default_rng(3)
    formula = np.arange(ROWS) % 7
    c = rng.integers(0, 3, (7, 3)).astype(float)[formula]
    c[:, 2] = formula == 5  # so rare that some fold has hardly any
    hidden = rng.normal(size=(ROWS, 4)) + c @ rng.normal(size=(3, 4))
    x = [hidden @ rng.normal(size=(4, w)) + rng.normal(size=(ROWS, w)) + 2 for w in (4, 75, 9)]
    x[2][:, 3] = 5 * c[:, 2]
    if kind == "vectors":
        return stack_of(x, components=3), np.arange(ROWS // 3) % 4
    return stack_of(x, c), formula


@pytest.mark.parametrize("kind", ["none", "ols", "formula", "vectors", "components kept"])
def test_measures_are_those_of_channels_prepared_anew(monkeypatch, kind):
    monkeypatch.setattr(forms, "_IN_TILES", 15 * 25**2)  # so that tiles are three and three
    monkeypatch.setattr(chance, "_IN_MAPS", 2 * ROWS**2)
    given, groups = stack(kind)
    projection = kind if kind in ("none", "formula") else "ols"
    penalty = {"alpha": 0.8, "variance": 0.9 if kind == "components kept" else None}
    order = orders(len(groups), 2, groups, seed=1)[1:]
    step = np.arange(given.components)
    order = (order[:, :, None] * given.components + step).reshape(len(order), ROWS)
    left = prepare(given, projection, **penalty)
    shared = Chance.of(given, left, projection, LINEAR, **penalty)
    assert [*map(len, shared.parts)] == [2, 1]
    parts = [shared.sums(part, order) for part in shared.parts]
    for i, one in enumerate(order):
        sums = {name: np.concatenate([p[name][i] for p in parts]) for name in parts[0]}
        found = shared.matrices(one, sums)
        expected = measures(given, projection, other=given.permuted(one), **penalty)
        for name in LINEAR:
            known = np.triu(np.ones((3, 3), bool)) if name == "cca" else slice(None)
            np.testing.assert_allclose(
                found[name][known], expected[name][known], rtol=1e-9, atol=1e-9, err_msg=name
            )


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_not_wanted_is_not_made(name):
    given, groups = stack("ols")
    order = orders(ROWS, 1, groups, seed=1)[1:]
    shared = Chance.of(given, prepare(given, "ols", alpha=1.0), "ols", [name], alpha=1.0)
    sums = shared.sums(range(3), order)
    assert set(sums) == {"r2": {"errors"}, "cca": set()}.get(name, {"overlap"})
    found = shared.matrices(order[0], {n: values[0] for n, values in sums.items()})
    assert set(found) == {name}
    assert np.isfinite(found[name][0]).all()


def test_products_of_rows_pay_where_channels_are_wide_for_the_rows():
    wide, narrow = (stack_of([np.zeros((400, w))] * 3, folds=5) for w in (96, 16))
    assert chance.pays(wide)
    assert not chance.pays(narrow)
