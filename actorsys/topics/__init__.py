"""Publish and subscribe across a tree of actors.

What is published goes to the root, which knows who listens, and from there to each of them. This
floor knows links and contexts; it does not know how actors are started. The root exposes `SERVICE`
to its tree.
"""

from . import service as SERVICE
from .publisher import Publisher
from .subscription import Publication, TopicSubscription
from .topic import Topic

__all__ = ["SERVICE", "Publication", "Publisher", "Topic", "TopicSubscription"]
