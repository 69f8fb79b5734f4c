"""The kit on the device: accounts, sign-in through a Bowerbird server, and calls as each account. See ../README.md."""

import atexit

from .bowerbird import *  # noqa: F403
from .bowerbird import __all__, wait_for_calls

# A thread that tells of its end while the interpreter is taken down would end the process with an abort.
atexit.register(wait_for_calls, 5000)
