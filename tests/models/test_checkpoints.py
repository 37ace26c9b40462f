"""The states of a training run: exact, the last two, and never a damaged one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DAMAGES

from cpdjax.models.training import checkpoints


def state(step):
    return {"params": {"a/b": jnp.arange(4, dtype=jnp.float32) / (step + 1)}, "step": (step,)}


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_last_two_states_are_kept(tmp_path):
    for step in (2, 8, 16):
        checkpoints.save(tmp_path, step, state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["16", "8"]
    assert same(checkpoints.restore(tmp_path, state(0)), state(16))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_passed_over(tmp_path, damage):
    for step in (8, 16):
        checkpoints.save(tmp_path, step, state(step))
    files = [path for path in (tmp_path / "16").rglob("*") if path.is_file()]
    damage(max(files, key=lambda path: path.stat().st_size))
    with pytest.warns(UserWarning, match="16 is damaged, or of version 0.1.0"):
        assert same(checkpoints.restore(tmp_path, state(0)), state(8))


def test_a_checkpoint_without_a_record_is_named(tmp_path):
    (tmp_path / "8" / "default").mkdir(parents=True)
    with pytest.warns(UserWarning, match="8 is damaged, or of version 0.1.0"):
        assert same(checkpoints.restore(tmp_path, state(0)), state(0))
