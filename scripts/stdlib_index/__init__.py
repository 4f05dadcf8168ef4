"""Index the source of the Python standard library with a tree of actors.

index     the work itself; knows nothing of actors
actors    the tree: who tokenises, who indexes, who hands out the files
screen    what is printed
__main__  the options, and the program from start to end
"""
