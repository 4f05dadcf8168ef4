"""Memory that is handed over, and not copied.

Nothing is imported here: an actor loads its `store` when it meets the first buffer.
"""
