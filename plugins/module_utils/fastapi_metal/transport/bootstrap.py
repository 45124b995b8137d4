"""The first lines that run on a host, given to its Python as `-c`: find the engine that is kept, start it.

Standard input holds one line of JSON, then the engine's archive where the controller sent it, then what
`host` reads. It takes no later Python to read this text, so that an old one is refused with a sentence.
"""

import json
import os
import sys

MARK = "fastapi-metal "
OLDEST = (3, 11)

# Whoever is served goes before: a release is made with what visitors leave of the processors.
NICE = 5


def answer(**values: object) -> None:
    """Write the one line that the controller looks for."""
    sys.stdout.write("\n" + MARK + json.dumps(values) + "\n")
    sys.stdout.flush()


def in_memory(archive: bytes) -> str:
    """Return a path under which Python imports an archive that lies on no disk."""
    handle = os.memfd_create("engine")
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(archive)
    return "/proc/self/fd/{}".format(handle)  # noqa: UP032 - an old Python reads this too


def whole(path: str) -> bool:
    """Tell whether an engine is there as it was written: its second line says what follows it."""
    from hashlib import sha256

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - costs an import
            file.readline()
            said = file.readline().strip(b"#\n").decode()
            return said == sha256(file.read()).hexdigest()
    except (OSError, ValueError):
        return False


def start() -> None:
    """Import the engine and hand over."""
    os.nice(NICE)
    if sys.version_info < OLDEST:
        answer(
            problem="{} is Python {}.{}, and the release engine needs {}.{} or later; set ".format(
                sys.executable, *sys.version_info[:2], *OLDEST
            )
            + "ansible_python_interpreter in group_vars/all/connection.yml to one"
        )
        return
    head = json.loads(sys.stdin.buffer.readline())
    archive = sys.stdin.buffer.read(head["engine"])
    if len(archive) != head["engine"]:
        sys.exit("the connection ended before everything had come")
    if not archive and not whole(head["kept"]):
        answer(missing=True)
        return
    sys.path.insert(0, in_memory(archive) if archive else head["kept"])
    from fastapi_metal.transport.host import serve

    serve(head, archive, sys.stdin.buffer)


if __name__ == "__main__":
    start()
