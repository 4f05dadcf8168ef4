"""Carriers: distributed algorithms written for asyncio, each participant in a process of its own."""
