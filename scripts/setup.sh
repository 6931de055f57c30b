#!/bin/sh
# A virtual environment with Gregale and its tools, at the versions of constraints.txt.
set -eu
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Gregale needs Python 3.11 or newer; $PYTHON is $("$PYTHON" --version 2>&1). Name another: make PYTHON=python3.12 …" >&2
    exit 1
fi
if ! "$PYTHON" -m venv "$VENV" 2>/dev/null; then
    # Debian keeps ensurepip in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -qy python3-venv
        "$PYTHON" -m venv "$VENV"
    else
        echo "Python's venv module is not complete here. Install it first: apt-get install python3-venv" >&2
        exit 1
    fi
fi
echo "Setting up $VENV …"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,javascript,mistral,keystone,oidc,postgresql,mariadb,rabbitmq,tracing,bench,rally]'
