"""An asyncio loop beside trio, in one process: calls, cancellation and errors cross both ways.

This floor knows trio and asyncio, and nothing of the actors that use it. asyncio is imported here
alone, when it is used.
"""
