#!/bin/bash
# Builds one package inside a fresh Arch Linux container or machine, from the document in $PKGWARDEN_BUILD, or in the
# file $PKGWARDEN_BUILD_FILE if it is too long for a variable, and leaves packages and makepkg's status in $OUT (./out).
# The package folder is in the tar archive $PACKAGE_TAR, or else fetched from git.
set -euo pipefail

if [[ -z ${PKGWARDEN_BUILD:-} ]]; then
    PKGWARDEN_BUILD=$(<"$PKGWARDEN_BUILD_FILE")
fi
# What is started below could not begin with a variable that is too long.
declare +x PKGWARDEN_BUILD
# GitLab would change a document that it can read.
[[ $PKGWARDEN_BUILD == "{"* ]] || PKGWARDEN_BUILD=$(base64 -d <<<"$PKGWARDEN_BUILD")
value() { jq -r ".$1 // empty" <<<"$PKGWARDEN_BUILD"; }

pacman -Syu --noconfirm --needed base-devel git jq

# Who signs them is trusted; what is not signed as it has to be is not installed.
if [[ $(value 'pacman_keyrings | length') -gt 0 ]]; then
    pacman-key --init
    jq -r '.pacman_keyrings[].keys' <<<"$PKGWARDEN_BUILD" >/tmp/keys.asc
    pacman-key --add /tmp/keys.asc
    mapfile -t signers < <(gpg --homedir /etc/pacman.d/gnupg --with-colons --show-keys /tmp/keys.asc |
        sed -n '/^pub:/,/^fpr:/s/^fpr:*\([0-9A-F]*\):$/\1/p')
    pacman-key --lsign-key "${signers[@]}"
fi

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
out=${OUT:-$PWD/out}
package=/tmp/monorepo/$(value pkgbase)
made=/tmp/made
mkdir -p "$out" "$package" "$made"
if [[ -n ${PACKAGE_TAR:-} ]]; then
    tar -xf "$PACKAGE_TAR" -C "$package"
else
    git init -q /tmp/monorepo
    git -C /tmp/monorepo fetch -q --depth 1 "$(value url)" "$(value commit)"
    git -C /tmp/monorepo checkout -q FETCH_HEAD
fi
chown -R build "$made" /tmp/monorepo
cd "$package"

# Code of the package runs without the variables of the service, some of which are secret, and never as root.
as_build() {
    runuser -u build -- env -i HOME=/home/build USER=build LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/usr/bin/site_perl:/usr/bin/vendor_perl:/usr/bin/core_perl "$@"
}

leave() {
    echo "$1" >"$out/status"
    exit "$1"
}

# What the monorepo changes in a package before it is built, in this order. What ends with this status is skipped.
skip=$(value skip_exit_code)
[[ ! -f .CI/prepare ]] || as_build env CI_CODE_SKIP="$skip" bash -c '. ./.CI/prepare' || leave $?
[[ ! -f .CI/interfere.patch ]] || as_build patch -p1 -i .CI/interfere.patch || leave $?
# shellcheck disable=SC2016 # the shell of the build expands it
as_build bash -ec 'for part in .CI/PKGBUILD.prepend PKGBUILD .CI/PKGBUILD.append; do
    [[ ! -f $part ]] || { cat "$part"; echo; }
done | sed "s/-march=native//g" >PKGBUILD.new && mv PKGBUILD.new PKGBUILD'
if [[ -n $(value bump) ]]; then
    # Of another version than it was asked for, nothing is raised.
    as_build tee -a PKGBUILD >/dev/null <<END
if [[ \$(vercmp "$(value bump_of)" "\${epoch:-0}:\$pkgver-\$pkgrel") == 0 ]]; then
    if [[ \$pkgrel == *.* ]]; then pkgrel=\${pkgrel%%.*}.\$((10#\${pkgrel#*.} + $(value bump))); else pkgrel=\$pkgrel.$(value bump); fi
fi
END
fi

# What it needs is installed by us, so that it needs no right to install anything.
srcinfo=$(as_build makepkg --printsrcinfo) || leave 12
mapfile -t needs < <(awk -v arch="$(value arch)" '
    $1 == "pkgname" { exit }
    $1 ~ "^(make|check)?depends(_" arch ")?$" && $2 == "=" { print $3 }' <<<"$srcinfo")
missing=()
((${#needs[@]} == 0)) || mapfile -t missing < <(pacman -T -- "${needs[@]}" || true)
((${#missing[@]} == 0)) || pacman -S --noconfirm --needed --asdeps -- "${missing[@]}" || leave 8

status=0
as_build env PKGDEST="$made" PKGEXT=.pkg.tar.zst PACKAGER="${PACKAGER:-Unknown Packager}" \
    SOURCE_DATE_EPOCH="$(value source_date_epoch)" CI_CODE_SKIP="$skip" \
    timeout "$(value timeout_s)" makepkg --force || status=$?
find "$made" -maxdepth 1 -type f -name '*.pkg.tar.zst' -exec cp --no-dereference -t "$out" {} +
leave "$status"
