#!/bin/bash
# Saves files of this build for the next one, and restores what an earlier one saved.
set -u -o pipefail

usage() {
  echo 'usage: pkgwarden-cache save NAME PATH...' >&2
  echo '       pkgwarden-cache restore NAME [PATH...]' >&2
  exit 2
}

(($# >= 2)) || usage
action=$1 name=$2
shift 2
case $action in
  save) (($# >= 1)) || usage ;;
  restore) ;;
  *) usage ;;
esac

say() { printf '  -> cache: %s\n' "$1"; }

desk=/pkgwarden
if [[ ! -p $desk/bell ]]; then
  say 'caches are off for this build'
  exit 0
fi

# As seen from the root, without the first slash.
paths=()
for path; do
  path=$(realpath -ms -- "$path")
  paths+=("${path#/}")
done

id=$(mktemp -u XXXXXXXXXXXX)
mine=$desk/requests/$id
mkfifo "$mine.answer" || exit 1
# Open before anybody is asked, so that the answer finds somebody who reads it.
exec 3<>"$mine.answer"

word=-
if [[ $action == save ]]; then
  word=packed
  printf '%s\0' "${paths[@]}" |
    bsdtar -c -f - --format gnutar --no-acls --no-xattrs --no-fflags -C / --null -T - |
    head -c "$PKGWARDEN_CACHE_MAX" >"$mine.tar" || word=failed
fi
printf '%s\0' "$action" "$name" "$word" >"$mine.words"
echo "$id" >"$desk/bell"
read -r -u 3 status
read -r -u 3 text

code=0
case $status in
  found | found-required)
    if ! bsdtar -x -f "$desk/answers/$id" -C / -- "${paths[@]}"; then
      text="$name could not be unpacked whole"
      [[ $status == found ]] || code=1
    fi
    ;;
  failed) code=1 ;;
esac
say "$text"
rm -f "$mine.answer" "$mine.words"
exit "$code"
