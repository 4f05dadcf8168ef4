"""A pool of like actors: calls, maps, replacement of workers that die."""
