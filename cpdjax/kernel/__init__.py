"""The compiled probe: CPD in closed form, pure functions of arrays on JAX and `errors` alone."""
