"""`python -m cpdjax.cli` runs what `cpdjax` runs."""

from cpdjax_start import main

if __name__ == "__main__":
    main()
