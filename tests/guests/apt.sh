# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# i386 packages of Debian's for guests, with an apt state of its own: dpkg's architectures stay as
# they are, and nothing is installed.  Whoever sources this has set $out, a folder that is there,
# and $update (yes to look for newer packages), and has the functions say and fail.  Packages that
# cannot be had end it with status 3.
#
#   $out/packages/   .deb files as downloaded        $out/apt/   package lists

# apt with lists and caches of its own, for i386 alone
apt_i386 () { # COMMAND ARGUMENT...
  local command=$1
  shift
  "$command" -q -o APT::Architecture=i386 -o APT::Architectures=i386 \
    -o Dir::State="$out/apt" -o Dir::State::status="$out/apt/status" \
    -o Dir::Cache="$out/apt/cache" -o APT::Sandbox::User= \
    -o Acquire::Languages=none -o Acquire::Retries=5 "$@"
}

# The lists are read once; PACKAGE is to be in them.
update_lists () { # PACKAGE
  mkdir -p "$out/apt/lists/partial" "$out/apt/cache/archives/partial"
  : > "$out/apt/status"
  if [ $update = no ] && [ -e "$out/apt/updated" ]; then
    return
  fi
  say 'reading the list of i386 packages'
  # One broken source must not stand in the way: whether the packages can be had decides.
  if ! apt_i386 apt-get update > "$out/apt/log" 2>&1; then
    say "some package lists could not be read (see $out/apt/log); going on with the others"
  fi
  apt_i386 apt-cache show "$1" > /dev/null 2>&1 \
    || { say "Debian's package $1 for i386 is in none of this machine's apt sources" \
      "(see /etc/apt; log: $out/apt/log)" >&2; exit 3; }
  touch "$out/apt/updated"
}

# Prints the path of a package file, after fetching it when it is not there.
fetch_package () { # NAME
  local version file
  version=$(apt_i386 apt-cache policy "$1" 2> /dev/null | sed -n 's/^ *Candidate: //p')
  case $version in '' | '(none)') say "no i386 package $1 in the apt sources" >&2; exit 3 ;; esac
  file=$out/packages/${1}_${version//:/%3a}_i386.deb
  if [ ! -s "$file" ]; then
    say "fetching $1 $version" >&2
    rm -rf "$out/packages/partial"
    mkdir -p "$out/packages/partial"
    (cd "$out/packages/partial" && apt_i386 apt-get download "$1") > "$out/apt/log" 2>&1 \
      || { say "cannot fetch $1: $(tail -n 1 "$out/apt/log")" >&2; exit 3; }
    mv "$out/packages/partial/"*.deb "$file"
    rm -r "$out/packages/partial"
  fi
  printf '%s\n' "$file"
}
