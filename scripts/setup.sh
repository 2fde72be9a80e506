#!/bin/sh
# Set up everything below .venv: a Python environment, the pinned packages and this project itself (editable).
# Runs in well under a second when nothing has changed since the last time. PYTHON chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON is '$PYTHON', which is no Python 3.11 or newer."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    fail "No Python 3.11 or newer was found. Install one, or name it: PYTHON=/path/to/python3 make ..."
}

# Debian and Ubuntu keep the part of Python that makes environments in a package of its own.
make_environment() {
    python=$(find_python) || exit 1
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    say "$python cannot make environments; trying to install the system package $package"
    if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
    rm -rf .venv
    { $root apt-get update && $root apt-get install -y "$package"; } >/dev/null 2>&1 ||
        fail "Could not install $package. Install it by hand (sudo apt-get install $package), then run this again."
    "$python" -m venv .venv
}

# An environment holds absolute paths: of a folder that was moved or copied it must be made anew.
wanted=$(cat pyproject.toml constraints.txt | cksum; pwd -P)
if [ "$(cat .venv/ready 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi

usable() { new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }
case "$(cat .venv/ready 2>/dev/null)" in
    "") ;;
    *"$(pwd -P)") ;;
    *) rm -rf .venv ;;
esac
usable || make_environment
export PIP_DISABLE_PIP_VERSION_CHECK=1
say "installing the packages pinned in constraints.txt (about 1.5 GB; some minutes the first time)"
.venv/bin/python -m pip install -q -c constraints.txt pip ||
    fail "pip could not be brought up to date; it says why above. Check the network, then run this again."
.venv/bin/python -m pip install -q -c constraints.txt -e '.[all]' --group dev ||
    fail "The packages could not be installed; pip says why above. Run this again once that is mended."
echo "$wanted" >.venv/ready
