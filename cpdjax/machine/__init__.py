"""The folder `machine` holds what is computed with: precision, threads, devices and programs."""
