"""Tells systemd how the service is; nothing where systemd did not ask."""

import os
import socket

__all__ = ["tell"]


def tell(message: str) -> None:
    """Send a message to the service manager (``sd_notify``): ``READY=1``, say.

    Parameters
    ----------
    message : str
        Lines ``NAME=value``.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A manager that does not listen must not stop the work.
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
    except OSError:
        return  # it is systemd's watchdog that finds out
