"""The standard actions of language spec 7.2."""

from collections.abc import Callable
from typing import Any

from gregale.actions.std.basic import async_noop, echo, fail, noop, sleep, test_dict
from gregale.actions.std.email import email
from gregale.actions.std.http import http, mistral_http
from gregale.actions.std.javascript import javascript, js
from gregale.actions.std.ssh import ssh, ssh_proxied

STANDARD: tuple[Callable[..., Any], ...] = (
    noop,
    async_noop,
    echo,
    fail,
    sleep,
    test_dict,
    http,
    mistral_http,
    email,
    ssh,
    ssh_proxied,
    javascript,
    js,
)
