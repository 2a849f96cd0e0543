"""The views, one file each: a state in traitlets, from which everything that is shown derives."""
