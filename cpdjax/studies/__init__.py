"""Studies on results of sweeps: the paper's findings beside ours, and what to use for a target."""
