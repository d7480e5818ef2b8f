"""featherpose: train, compare and ship lightweight 2D human pose networks."""

__version__ = "0.1.0"
