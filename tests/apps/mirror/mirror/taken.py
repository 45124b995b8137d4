"""An application that has been taken over: it runs what it is sent. For the lab alone."""

import asyncio

from fastapi import Request, Response

from mirror.main import create_app

app = create_app("taken")


@app.post("/run")
async def run(request: Request) -> Response:
    """Run the body as a shell script, in the sandbox of the process that serves; answer what it printed."""
    pipe = asyncio.subprocess.PIPE
    shell = await asyncio.create_subprocess_exec(
        "/bin/sh", "-s", stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await shell.communicate(await request.body())
    return Response(printed, 200 if shell.returncode == 0 else 500, media_type="text/plain")
