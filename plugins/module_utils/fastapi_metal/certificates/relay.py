"""What the key of the issuing machine runs, whatever it asks for: it hands what comes to a unit of root's.

It runs as a user who may do nothing but reach the socket of that unit, and imports nothing but Python's own.
"""

import socket
import sys

SOCKET = "/run/certificate-receive.sock"
# A chain and a key are a few thousand bytes.
LARGEST = 200_000
# Longer than the unit may take.
PATIENCE = 90


def relay(path: str) -> int:
    """Pass standard input on and print what is answered; the status tells whether there was an answer."""
    said = sys.stdin.buffer.read(LARGEST + 1)
    if len(said) > LARGEST:
        print(f"refused: more than {LARGEST} bytes are no certificate")
        return 1
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(PATIENCE)
        wire.connect(path)
        wire.sendall(said)
        wire.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: wire.recv(4096), b""))
    sys.stdout.write(answer.decode("utf-8", "replace"))
    return 0 if answer else 1


if __name__ == "__main__":
    sys.exit(relay(SOCKET))
