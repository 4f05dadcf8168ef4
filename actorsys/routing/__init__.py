"""Messages for many actors, brought over a few routes; none is lost without a word.

This floor knows no process: a route is a function that sends.
"""
