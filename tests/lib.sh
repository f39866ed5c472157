# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# What the test scripts share. Sourced; `make check` sets TENON_SRCDIR and TENON_BUILDDIR, and by
# hand a script finds the source folder itself and builds are looked for in build/.
#
#   begin_test NAME      work folder $work, removed at the end unless the test failed
#   skip TEXT, fail TEXT ends the test
#   run_tenon SECONDS CONFIG [OPTION]...   one machine, until it is switched off or time is up

set -uo pipefail
export LC_ALL=C
# shellcheck source-path=SCRIPTDIR source=patience.sh
. "$(dirname "${BASH_SOURCE[0]}")/patience.sh"

source_dir=${TENON_SRCDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
build_dir=${TENON_BUILDDIR:-$source_dir/build}
tenon=${TENON:-$build_dir/core/tenon}
# shellcheck disable=SC2034 # for the scripts that source this
guests_dir=${TENON_GUESTS:-$build_dir/guests}
work=

say () { printf '%s: %s\n' "$test_name" "$*"; }
skip () { say "skipped: $*"; finish 77; }
fail () { say "FAILED: $*"; finish 1; }

finish () { # STATUS
  if [ -n "$work" ]; then
    if [ "$1" = 1 ]; then say "what it left is in $work"; else rm -rf "$work"; fi
  fi
  exit "$1"
}

begin_test () { # NAME
  test_name=$1
  mkdir -p "$build_dir/tests" || exit 99
  work=$(mktemp -d "$build_dir/tests/$1.XXXXXX") || exit 99
  trap 'finish 1' INT TERM
  [ -x "$tenon" ] || fail "no program $tenon: build first, or set TENON"
}

# The machine's messages go to $work/tenon.log; TENON_ENGINE chooses its engine. Returns tenon's
# status; 124 when time was up.
run_tenon () { # SECONDS CONFIG [OPTION]...
  local seconds=$1
  shift
  timeout --kill-after=10 "$seconds" "$tenon" run ${TENON_ENGINE:+--engine "$TENON_ENGINE"} "$@" \
    < /dev/null > "$work/tenon.log" 2>&1
}
