"""What makes scores unreliable is said in one sentence, by name, with what to do about it."""

import numpy as np
import pytest
from helpers import results_table

from cpdjax.reports.hints import hints

TARGETS = ("gap", "mu", "alpha")
CHANNELS = [(f"model_{i}", "interaction_2", "all") for i in range(4)]


def table(alpha=1.0):
    scores = {(*channel, target): 0.4 for channel in CHANNELS for target in TARGETS}
    made = results_table(scores, sizes=(40,), targets=TARGETS)
    return made.assign_coords(alpha=[alpha])


def test_sound_scores_need_no_hint():
    assert hints(table()) == []


@pytest.mark.parametrize(
    ("alpha", "cure"), [(1.0, "Choose α by leave-one-out (--alphas loo), "), (np.nan, "Take more")]
)
def test_channels_that_are_too_wide_are_named_with_a_way_out(alpha, cure):
    wide = table(alpha)
    wide["n_features"] = wide.n_features + 1_200
    [line] = hints(wide)
    assert line.startswith("More columns than the 32 training molecules: model_0 / interaction_2 /")
    assert "(1,208)" in line
    assert line.count("interaction_2") == 2
    assert "and 2 more. " + cure in line


@pytest.mark.parametrize(
    ("alpha", "cure"), [(1.0, "Choose α by leave-one-out"), (np.nan, "Take more molecules")]
)
def test_folds_that_failed_are_named_with_a_way_out(alpha, cure):
    failed = table(alpha)
    failed["r2_geom"] = failed.r2_geom - 5 * (failed.model != "model_3")
    [line] = hints(failed)
    assert "\n" not in line
    assert "model_0 / interaction_2 / all (gap, mu and 1 more)" in line
    assert "model_2" not in line
    assert f" and 1 more. {cure}" in line
