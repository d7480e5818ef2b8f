"""Scoring networks and prediction files, and what is written about it."""
