"""Publish and subscribe across a tree of actors."""
