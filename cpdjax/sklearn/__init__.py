"""Use CPD with scikit-learn: the residual as a transformer, R²_geom as a regressor's score.

Both take one matrix X, in which some columns are composition, so that they work wherever
scikit-learn cuts rows: in a `Pipeline`, in `cross_val_score`, in a search over α. They are made of
scikit-learn's own parts, and their numbers are those of `cpdjax.cpd`.
"""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        'cpdjax.sklearn needs scikit-learn: pip install "cpdjax[sklearn]"'
    ) from None

from cpdjax.sklearn.residual import CompositionResidual
from cpdjax.sklearn.ridge import ResidualRidge

__all__ = ["CompositionResidual", "ResidualRidge"]
