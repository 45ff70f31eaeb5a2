# What the scripts share; source it, do not run it. bash only.
#
#   ensure_venv EXTRA...   makes or reuses .venv with the project (editable) and these extras, all pinned by
#                          constraints.txt, and sets $PY to its interpreter
#   ensure_network         adds ip, with which root makes test networks
#   ensure_torch           adds torch to it: a CPU build where no NVIDIA driver is found, or none at all
#
# Environment: SPILLWAY_PYTHON, the interpreter .venv is made from (default python3);
#              SPILLWAY_HEADLESS=1, OpenCV without windows, which needs no system libraries.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
PY="$VENV/bin/python"
SYSTEM_LIBRARIES=(libxcb1 libgl1 libglib2.0-0)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
# A module path from outside would come before the checkout's own packages. Tests start hundreds of processes, and without
# bytecode each compiles our modules anew: 0.2 s of CPU.
unset PYTHONPATH PYTHONDONTWRITEBYTECODE

# say LINE...: to the person, not into a pipe.
say() { printf '%s\n' "$@" >&2; }
die() { say "$@"; exit 1; }

# root_prefix: what makes a command run as root without a password: "", "sudo -n"; fails where nothing does.
root_prefix() {
  if [ "$(id -u)" = 0 ]; then echo ""
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then echo "sudo -n"
  else return 1
  fi
}

# install_packages WHY PACKAGE...: from the system's package manager; or prints the one command that does it, and fails.
install_packages() {
  local why=$1 prefix output; shift
  local command="apt-get update && apt-get install -y --no-install-recommends $*"
  if command -v apt-get >/dev/null && prefix=$(root_prefix); then
    say "$why: installing $*"
    # shellcheck disable=SC2086  # the prefix is two words or none
    output=$($prefix env DEBIAN_FRONTEND=noninteractive sh -c "$command" 2>&1) && return
    say "$(tail -n 5 <<<"$output")"
  fi
  say "$why: $*" "Run this once (or its like on other systems), then start again:" "" "    sudo sh -c '$command'" ""
  return 1
}

# pip, pinned, also inside the isolated builds of packages that come as source. It compiles nothing: the first import of a
# module does, and of most there is none, which halves the time that an installation takes.
pip_install() {
  "$PY" -m pip install --no-compile --quiet --quiet --constraint "$ROOT/constraints.txt" --build-constraint "$ROOT/constraints.txt" "$@"
}

make_venv() {
  local python=${SPILLWAY_PYTHON:-python3}
  command -v "$python" >/dev/null || die "no $python here; Spillway needs Python 3.10 or newer (name one with SPILLWAY_PYTHON)"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$("$python" --version) is too old; Spillway needs Python 3.10 or newer (name one with SPILLWAY_PYTHON)"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages "$python cannot make virtual environments" python3-venv || exit 1
  say "making .venv with $("$python" --version)"
  rm -rf "$VENV"
  "$python" -m venv "$VENV"
  "$PY" -m pip install --quiet --quiet --constraint "$ROOT/constraints.txt" pip setuptools wheel
}

# stamp: changes whenever what is installed should.
stamp() {
  { cat "$ROOT/constraints.txt" "$ROOT/setup.cfg" "$ROOT/pyproject.toml"
    printf '%s\n' "$ROOT" "${SPILLWAY_HEADLESS:-0}"
    "${SPILLWAY_PYTHON:-python3}" --version; } | cksum | tr ' ' '-'
}

ensure_venv() {
  local extras wanted extra
  extras=$(IFS=,; printf '%s' "$*")
  wanted=$(stamp)
  # A venv of another state, or one copied here, is made anew; one with other extras is added to.
  [ "$(cat "$VENV/.stamp" 2>/dev/null)" = "$wanted" ] || { make_venv; printf '%s' "$wanted" >"$VENV/.stamp"; }
  for extra in base "$@"; do
    [ -e "$VENV/.has-$extra" ] || { install_project "$extras"; break; }
  done
  for extra in base "$@"; do : >"$VENV/.has-$extra"; done
  ensure_opencv
}

install_project() {
  say "installing Spillway${1:+ with $1} into .venv, pinned by constraints.txt (minutes at the first time)"
  pip_install --editable "$ROOT${1:+[$1]}"
  if [ "${SPILLWAY_HEADLESS:-0}" = 1 ]; then
    # Both wheels unpack into the same folder, so one goes before the other comes.
    "$PY" -m pip uninstall --quiet --quiet --yes opencv-python
    pip_install --force-reinstall --no-deps opencv-python-headless
  fi
}

# ensure_opencv: the wheel with windows needs three libraries that a bare system lacks.
ensure_opencv() {
  "$PY" -c 'import cv2' 2>/dev/null && return
  if [ "${SPILLWAY_HEADLESS:-0}" != 1 ]; then
    install_packages "OpenCV cannot be imported without some system libraries" "${SYSTEM_LIBRARIES[@]}" ||
      die "Or set SPILLWAY_HEADLESS=1: that uses opencv-python-headless, which needs none of them and shows no windows."
  fi
  "$PY" -c 'import cv2' || die "OpenCV still cannot be imported, see above."
}

# ensure_network: the lab makes networks of its own, as root and with ip; without either its tests are skipped.
ensure_network() {
  command -v ip >/dev/null || [ "$(id -u)" != 0 ] || [ "$(uname -s)" != Linux ] && return
  install_packages "the lab's networks need ip" iproute2 || say "Tests that make a network are skipped."
}

has_nvidia_driver() { [ -e /proc/driver/nvidia/version ] || { command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; }; }

# ensure_torch: never brings gigabytes of CUDA packages to a host that cannot use them.
ensure_torch() {
  local version requirement
  "$PY" -c 'import torch' 2>/dev/null && return
  [ ! -e "$VENV/.no-torch" ] || return 0
  version=$(sed -n 's/^torch==//p' "$ROOT/constraints.txt")
  requirement="torch==$version"
  # The CPU builds carry the local version "+cpu", so that asking for it can never bring another one.
  [ "$(uname -s)" != Linux ] || has_nvidia_driver || requirement="$requirement+cpu"
  say "installing $requirement"
  if ! pip_install "$requirement" 2>/dev/null; then
    : >"$VENV/.no-torch"
    say "No $requirement to be had, so tests with torch are skipped. Name a place that has it in PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL and remove .venv/.no-torch."
  fi
}
