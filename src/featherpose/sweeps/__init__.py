"""Jobs of a sweep as processes: their command lines, slots, states and table; `hydra_plugins` hands them to Hydra."""
