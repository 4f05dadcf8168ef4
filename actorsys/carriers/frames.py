"""What a participant and the hub say to each other: lists with their kind in front.

A *number* is the sender's, for what it wants accepted; a *delivery* is the hub's, for what it
wants handled; a *request* is the requester's. *packed* is the parcel
that `content` has made of a value.
"""

from __future__ import annotations

from typing import Any

Item = list[Any]


class ToHub:
    """What a participant tells the hub.

    *held* is how many messages and replies are ahead of the item, and come later because they
    wait for credit: the hub counts them as being under way from now on.
    """

    MESSAGE = 0  # number, receiver, request or None, packed, delivery that it is made in or None
    REPLY = 1  # number, requester, request, whether it is an error, packed
    HANDLED = 2  # held, delivery, whether it was a reply that nobody waited for
    HOLD = 3  # held, 1 or -1
    DONE = 4  # held, number of the command, whether it failed, packed
    GIVEN_UP = 5  # held, request whose reply nobody waits for any more


class ToParticipant:
    """What the hub tells a participant."""

    MESSAGE = 0  # delivery, sender, request or None, packed
    REPLY = 1  # delivery, request, whether it is an error, packed
    ACCEPTED = 2  # number
    COMMAND = 3  # number of the command, verb, argument
    CANCEL = 4  # number of a command
    LOST = 5  # a participant that has died, packed error
