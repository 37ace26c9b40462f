"""The folder `kernel` holds the compiled probe: CPD in closed form, as pure functions of arrays.

It imports JAX, jaxtyping, NumPy and `cpdjax.errors` alone, so it knows no molecule, model or file.
"""
