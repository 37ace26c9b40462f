"""Training of an architecture on one target."""

from cpdjax.models.training.run import train

__all__ = ["train"]
