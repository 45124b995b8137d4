#!/usr/bin/python
"""Ask this machine's Prometheus several questions in one trip."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: prometheus_ask
short_description: Ask this machine's Prometheus several questions in one trip
description:
  - Changes nothing, and does not fail where Prometheus is away or refuses a query; C(problem) says why.
author: fastapi-metal
options:
  url:
    description: Where Prometheus answers.
    type: str
    default: http://127.0.0.1:9090
  now:
    description: Queries by a name of yours; the answer is what is so now.
    type: dict
    default: {}
  over:
    description: Queries by a name of yours; the answer is what was so over the last C(span) seconds.
    type: dict
    default: {}
  span:
    description: Seconds to look back.
    type: int
    default: 10800
  step:
    description: Seconds from one figure to the next.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Ask what is up
  prometheus_ask:
    now: {up: up}
"""

RETURN = r"""
answers:
  description: The rows of each answer, by the query's name.
  returned: always
  type: dict
problem:
  description: What went wrong, one sentence, or nothing.
  returned: always
  type: str
"""

TIMEOUT = 30


def ask(url: str, path: str, parameters: dict[str, Any]) -> list[Any]:
    """Return the rows of one answer."""
    # S310: it is the user's own address of Prometheus.
    body = urllib.parse.urlencode(parameters).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/api/v1/{path}", data=body)  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        return list(json.load(answer)["data"]["result"])


def reason(error: Exception) -> str:
    """Return why there is no answer."""
    if isinstance(error, urllib.error.HTTPError):
        try:
            return str(json.load(error)["error"])
        except (ValueError, KeyError):
            return f"status {error.code}"
    return str(getattr(error, "reason", error))


def questions(params: dict[str, Any], end: float) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return path and parameters of each question."""
    span = {"start": end - params["span"], "end": end, "step": params["step"]}
    return {
        **{name: ("query", {"query": expr, "time": end}) for name, expr in params["now"].items()},
        **{name: ("query_range", {"query": expr, **span}) for name, expr in params["over"].items()},
    }


def main() -> None:
    """Answer."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "default": "http://127.0.0.1:9090"},
            "now": {"type": "dict", "default": {}},
            "over": {"type": "dict", "default": {}},
            "span": {"type": "int", "default": 10800},
            "step": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    end = time.time()
    asked = questions(module.params, end)
    answers: dict[str, list[Any]] = {}
    problem = ""
    with ThreadPoolExecutor(4) as pool:
        begun = {
            name: pool.submit(ask, module.params["url"], path, parameters)
            for name, (path, parameters) in asked.items()
        }
        for name, answer in begun.items():
            try:
                answers[name] = answer.result()
            except (OSError, ValueError, KeyError) as error:
                problem = problem or f"{module.params['url']} did not answer ({name}): {reason(error)}"
    module.exit_json(changed=False, answers=answers, problem=problem, end=end)


if __name__ == "__main__":
    main()
