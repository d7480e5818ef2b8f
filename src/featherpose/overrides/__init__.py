"""What people type after a verb: how Hydra reads it, names of old, keys that nothing reads."""
