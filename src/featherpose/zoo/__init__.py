"""Weights that were trained elsewhere: the files they come in, and the maps from their names to ours."""
