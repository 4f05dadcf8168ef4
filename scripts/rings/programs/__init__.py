"""What the rings start: programs, and the modules whose functions their actors run."""
