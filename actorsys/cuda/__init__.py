"""Memory of a GPU, as its driver shares it between processes: slabs, handles, events.

This floor knows no actor and no wire. What it needs of CUDA stands in one protocol class, which
CuPy fulfils, and a runtime in `testing` that enforces the rules of CUDA without a GPU.
"""
