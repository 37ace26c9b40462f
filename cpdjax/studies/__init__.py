"""The paper's findings and a recommendation, from the results of sweeps."""
