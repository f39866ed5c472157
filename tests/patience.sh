# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For scripts that wait for another process: for the state itself, never for a while in which it ought
# to have come.  A slow or busy host makes a test late, not wrong.

patience=600 # seconds; readonly would forbid to source this twice

# wait_until COMMAND...: again and again until it succeeds; fails when patience is at an end
wait_until () {
  local end=$((SECONDS + patience))
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

# A TCP port that nobody listens on, and that the kernel does not give to whoever connects.
free_port () {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
  done
  echo "$port"
}
