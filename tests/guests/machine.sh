# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Functions for tests that drive a whole guest by its serial console.  A test sources this file, then:
#
#   machine_start config/demo.cfg --set machine.memory=64
#   machine_expect 'ready' 120          # a pattern (grep -E) in what came since the last one
#   machine_type 'uname -r'
#   machine_stop                        # or machine_wait, after the guest switched itself off
#
# Everything a guest said is in $work/console, what tenon said in $work/messages.
#
# Seconds are of the host's clock, and no wait is given up before ten minutes (patience.sh): they tell
# how long it takes on a host with nothing else to do, but a busy one must not fail a test.

set -uo pipefail
export LC_ALL=C
# shellcheck source-path=SCRIPTDIR source=../patience.sh
source "$(dirname "${BASH_SOURCE[0]}")/../patience.sh"

srcdir=${TENON_SRCDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
builddir=${TENON_BUILDDIR:-$srcdir/build}
guests=${TENON_GUESTS:-$builddir/guests}
tenon=$builddir/core/tenon
work=$(mktemp -d) || exit 99
socket=$work/control
machine_pid=
seen=0

machine_cleanup () {
  if [ -n "$machine_pid" ]; then
    kill "$machine_pid" 2> /dev/null && wait "$machine_pid" 2> /dev/null
  fi
  rm -rf "$work"
}
trap machine_cleanup EXIT

say () { printf '%s: %s\n' "${0##*/}" "$*"; }

# fail MESSAGE: shows where the guest was, and ends the test
fail () {
  say "FAILED: $*"
  say 'the last lines of the console and of tenon:'
  tail -c 3000 "$work/console" 2> /dev/null | tr -d '\r'
  echo
  tail -n 20 "$work/messages" 2> /dev/null
  exit 1
}

# deadline SECONDS: in bash's seconds
deadline () { echo $((SECONDS + ($1 > patience ? $1 : patience))); }

# need_guest FILE...: images are made from Debian packages; without them a test has nothing to run
need_guest () {
  local file maker=make-demo
  for file in "$@"; do
    case $file in
      xorg.img) maker='make-xorg, as root' ;;
      memtest.iso | installer.iso) maker="make-others ${file%.iso}" ;;
    esac
    if [ ! -s "$guests/$file" ]; then
      say "SKIPPED: $guests/$file is not there; make it with tests/guests/$maker"
      exit 77
    fi
  done
}

# machine_start CONFIG [ARGUMENT...]: with a disk of its own where the demo has one
machine_start () {
  local config=$1
  shift
  case $config in
    */demo.cfg)
      need_guest demo.img
      cp --sparse=always "$guests/demo.img" "$work/demo.img" || exit 99
      set -- --set "hd0.file=$work/demo.img" "$@" ;;
  esac
  rm -f "$work/keys"
  mkfifo "$work/keys"
  : > "$work/console"
  : > "$work/messages"
  seen=0
  "$tenon" run "$config" --control "$socket" "$@" < "$work/keys" > "$work/console" \
    2> "$work/messages" &
  machine_pid=$!
  exec 9> "$work/keys"
}

# machine_expect PATTERN SECONDS [WHAT]: in what the console said after the last match
machine_expect () {
  local pattern=$1 end match text alive
  end=$(deadline "$2")
  while :; do
    # Before the look at the console: what a machine said at its very end counts.
    alive=yes
    kill -0 "$machine_pid" 2> /dev/null || alive=no
    match=$(tail -c "+$((seen + 1))" "$work/console" | grep -aobE -m 1 -- "$pattern" | head -n 1)
    if [ -n "$match" ]; then
      text=${match#*:}
      seen=$((seen + ${match%%:*} + ${#text}))
      return 0
    fi
    [ $alive = yes ] || fail "the machine ended before '${3:-$pattern}'"
    [ $SECONDS -lt "$end" ] || fail "no '${3:-$pattern}' in time"
    sleep 0.2
  done
}

machine_type () { printf '%s\n' "$*" >&9; }

# machine_run SECONDS COMMAND: types a command, waits for its end, leaves its output in $work/output;
# returns its status
machine_run () {
  local limit=$1 mark start
  shift
  mark=$RANDOM$RANDOM
  start=$seen
  # The mark is made by the guest's shell, so that the echo of what was typed does not match.
  machine_type "$*; echo \"@\"$mark:\$?@"
  machine_expect "@$mark:[0-9]+@" "$limit" "the end of: $*"
  tail -c "+$((start + 1))" "$work/console" | tr -d '\r' > "$work/output"
  return "$(sed -n "s/.*@$mark:\\([0-9]*\\)@.*/\\1/p" "$work/output" | tail -n 1)"
}

# machine_wait SECONDS: waits for the end; the exit code is in $machine_status
machine_wait () {
  local end
  end=$(deadline "$1")
  while kill -0 "$machine_pid" 2> /dev/null; do
    [ $SECONDS -lt "$end" ] || fail 'the machine did not end in time'
    sleep 0.2
  done
  exec 9>&-
  wait "$machine_pid"
  machine_status=$?
  machine_pid=
}

machine_stop () {
  kill "$machine_pid" 2> /dev/null
  machine_wait 30
}

ctl () { "$tenon" ctl --socket "$socket" "$@"; }

# shot NAME: what is on the screen, as $work/NAME.png
shot () { ctl screenshot "$work/$1.png" || fail "no screenshot ($1)"; }

# settle NAME: a screenshot, once the screen has come to rest
settle () {
  local i
  shot "$1"
  for ((i = 0; i < 120; i++)); do
    sleep 0.5
    shot next
    cmp -s "$work/next.png" "$work/$1.png" && return
    mv "$work/next.png" "$work/$1.png"
  done
  fail "the screen does not come to rest ($1)"
}

# keep NAME...: pictures for people to look at
keep () {
  local name
  [ -n "${TENON_PICTURES-}" ] || return 0
  for name in "$@"; do cp "$work/$name.png" "$TENON_PICTURES"; done
}

# screen_expect PATTERN SECONDS [WHAT]: on the text screen, which stays in $work/screen
screen_expect () {
  local end
  end=$(deadline "$2")
  until ctl screen > "$work/screen" 2> /dev/null && grep -Eq -- "$1" "$work/screen"; do
    kill -0 "$machine_pid" 2> /dev/null || fail "the machine ended before '${3:-$1}'"
    if [ $SECONDS -ge "$end" ]; then
      cat "$work/screen"
      fail "no '${3:-$1}' on the screen in time"
    fi
    sleep 0.3
  done
}

# picture_expect NAME SECONDS WHAT COMMAND [ARGUMENT]...: takes pictures until the command succeeds
picture_expect () {
  local name=$1 what=$3 end
  end=$(deadline "$2")
  shift 3
  # Between two modes a card may send no picture.
  until ctl screenshot "$work/$name.png" 2> /dev/null && "$@"; do
    kill -0 "$machine_pid" 2> /dev/null || fail "the machine ended before $what"
    if [ $SECONDS -ge "$end" ]; then
      keep "$name"
      fail "the screen does not show $what (TENON_PICTURES=DIR keeps the picture)"
    fi
    sleep 0.3
  done
}

# part_is NAME SUM X Y WIDTH HEIGHT: these pixels are what they were when someone looked at them and
# noted the sum
part_is () {
  local name=$1 sum=$2
  shift 2
  [ "$("$builddir/tests/guests/picture" "$work/$name.png" sum "$@" 2>&1)" = "$sum" ]
}

# has_share NAME COLOR LEAST: so many of a thousand pixels have the colour RRGGBB, or more
has_share () {
  [ "$("$builddir/tests/guests/picture" "$work/$1.png" share "$2")" -ge "$3" ]
}

# picture_size NAME: width and height out of a screenshot's header
picture_size () {
  od -An -tu1 -j16 -N8 "$work/$1.png" \
    | awk '{ print $1*16777216+$2*65536+$3*256+$4, $5*16777216+$6*65536+$7*256+$8 }'
}

# Reads `dmesg` of the guest into $work/dmesg.
machine_dmesg () {
  machine_run 120 'dmesg' || fail 'dmesg failed'
  cp "$work/output" "$work/dmesg"
}

# expect_dmesg PATTERN WHAT
expect_dmesg () {
  grep -aEq -- "$1" "$work/dmesg" || { cat "$work/dmesg"; fail "dmesg does not show $2 ($1)"; }
}
