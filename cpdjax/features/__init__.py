"""From structures to features: models run, files read, stores written."""
