#!/bin/sh
# Set up .venv: a virtual environment with the pinned packages and this project (editable).
# Takes well under a second if nothing has changed. PYTHON chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON is not Python 3.11 or newer: '$PYTHON'. Name another interpreter."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    fail "Python 3.11 or newer is not installed. Install it, or name it: PYTHON=/path/to/python3 make ..."
}

# Debian and Ubuntu ship Python's venv module in a separate package.
make_environment() {
    python=$(find_python) || exit 1
    say "creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    say "$python lacks the venv module; trying to install the system package $package"
    if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
    rm -rf .venv
    { $root apt-get update && $root apt-get install -y "$package"; } >/dev/null 2>&1 ||
        fail "$package cannot be installed. Install it with sudo apt-get install $package, then run this again."
    "$python" -m venv .venv
}

# An environment contains absolute paths: after the folder was moved or copied, it must be created again.
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
say "installing the packages pinned in constraints.txt (about 1.8 GB; some minutes the first time)"
.venv/bin/python -m pip install -q -c constraints.txt pip ||
    fail "pip cannot be updated; its error is above. Check the network, then run this again."
.venv/bin/python -m pip install -q -c constraints.txt -e '.[all]' --group dev ||
    fail "The packages cannot be installed; pip's error is above. Fix it, then run this again."
echo "$wanted" >.venv/ready
