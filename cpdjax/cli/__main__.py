"""`python -m cpdjax.cli` runs what `cpdjax` runs."""

from cpdjax.cli.start import main

if __name__ == "__main__":
    main()
