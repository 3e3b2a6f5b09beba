#!/bin/bash
# Builds one package inside a fresh Arch Linux container, from the document in $PKGWARDEN_BUILD, and leaves packages and
# makepkg's status in ./out. For the pipeline and the workflow beside this file.
set -euo pipefail

value() { jq -r ".$1 // empty" <<<"$PKGWARDEN_BUILD"; }

pacman -Syu --noconfirm --needed base-devel git jq

# Packages that were published before come first.
{
    jq -r '.pacman_repositories[] | "[\(.name)]", "Server = \(.server)", (.sig_level // empty | "SigLevel = \(.)"), ""' \
        <<<"$PKGWARDEN_BUILD"
    sed '1,/^\[options\]/d' /etc/pacman.conf
} >/tmp/repositories
sed -i '/^\[options\]/q' /etc/pacman.conf
cat /tmp/repositories >>/etc/pacman.conf
pacman -Sy

useradd --create-home build
echo 'build ALL=(ALL) NOPASSWD: /usr/bin/pacman' >/etc/sudoers.d/build
out=$PWD/out
mkdir -p "$out"
git init -q /tmp/monorepo
git -C /tmp/monorepo fetch -q --depth 1 "$(value url)" "$(value commit)"
git -C /tmp/monorepo checkout -q FETCH_HEAD
chown -R build "$out" /tmp/monorepo
cd "/tmp/monorepo/$(value pkgbase)"

as_build() { runuser -u build -- "$@"; }

# What the monorepo changes in a package before it is built, in this order.
[[ ! -f .CI/prepare ]] || as_build bash .CI/prepare
[[ ! -f .CI/interfere.patch ]] || as_build patch -p1 -i .CI/interfere.patch
[[ ! -f .CI/PKGBUILD.prepend ]] || cat .CI/PKGBUILD.prepend PKGBUILD >/tmp/PKGBUILD
[[ ! -f /tmp/PKGBUILD ]] || cp /tmp/PKGBUILD PKGBUILD
[[ ! -f .CI/PKGBUILD.append ]] || cat .CI/PKGBUILD.append >>PKGBUILD
if [[ -n $(value bump) ]]; then
    # shellcheck disable=SC2016 # makepkg expands it
    printf '[[ $pkgrel == *.* ]] && pkgrel=${pkgrel%%%%.*}.$((10#${pkgrel#*.} + %d)) || pkgrel+=.%d\n' \
        "$(value bump)" "$(value bump)" >>PKGBUILD
fi

status=0
as_build env PKGDEST="$out" PKGEXT=.pkg.tar.zst PACKAGER="${PACKAGER:-Unknown Packager}" \
    SOURCE_DATE_EPOCH="$(value source_date_epoch)" \
    timeout "$(value timeout_s)" makepkg --syncdeps --noconfirm --force || status=$?
echo "$status" >"$out/status"
exit "$status"
