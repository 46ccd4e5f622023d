"""A real S3-compatible server on loopback: moto's, in a process of its own."""

import logging
import sys
import threading

from moto.server import ThreadedMotoServer


def main() -> None:
    """Serve until standard input is closed; say the port first."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    # Whoever started us may be killed: then this ends too.
    threading.Thread(target=sys.stdin.read).run()
    server.stop()


if __name__ == "__main__":
    main()
