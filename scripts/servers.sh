#!/bin/sh
# The servers that the tests use, from Debian's packages. Without root or apt the tests that need them are left out, and say so.
set -eu
missing=""
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
command -v mariadbd >/dev/null 2>&1 || [ -x /usr/sbin/mariadbd ] || missing="$missing mariadb-server"
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
command -v callgrind_control >/dev/null 2>&1 || missing="$missing valgrind"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed:$missing (that takes root and apt-get); the tests that need them are left out." >&2
    exit 0
fi
echo "Installing$missing …"
export DEBIAN_FRONTEND=noninteractive
# Debian starts a server when it is installed, on its usual port; the tests start their own
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    made=1
fi
trap '[ -z "$made" ] || rm -f "$policy"' EXIT
apt-get update -q
# shellcheck disable=SC2086
apt-get install -qy --no-install-recommends $missing
