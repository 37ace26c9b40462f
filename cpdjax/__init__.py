"""cpdjax: what does an atomistic model know beyond composition, where, and in which channel?"""

from cpdjax.cpd import cpd, learning_curve
from cpdjax.folds import group_folds, kfold
from cpdjax.probe import Scores

__all__ = ["Scores", "cpd", "group_folds", "kfold", "learning_curve"]
