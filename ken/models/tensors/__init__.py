"""Single tensors: their bytes and fingerprints, reading them in stretches, who shares memory, and what a name says."""
