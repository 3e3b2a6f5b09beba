//! A package, the everyday update of it, and what is done to both; what that proves is in the modules below.

mod alone;
mod bounds;
mod order;
mod person;
mod reasons;
mod usage;

use super::*;
use crate::domain::folder::{File, FileMode};

const PKGBUILD_TEXT: &str = r#"# Maintainer: Someone <someone at example dot org>
pkgbase=tool
pkgname=('tool' 'tool-docs')
pkgver=1.2.3
pkgrel=2
pkgdesc="A tool"
arch=('x86_64' 'aarch64')
url="https://example.org/tool"
license=('MIT')
depends=('glibc')
makedepends=('cmake')
source=("https://example.org/tool/$pkgbase-$pkgver.tar.gz"
        "https://example.org/tool/$pkgbase-$pkgver.tar.gz.sig"
        fix.patch)
source_x86_64=("https://example.org/tool/${pkgver%.*}/blob.bin")
validpgpkeys=('0123456789ABCDEF0123456789ABCDEF01234567')
sha256sums=('@A'
            'SKIP' # the signature
            '@B')
sha256sums_x86_64=("@C")

prepare() {
  # to see more: man tool
  cat >note <<\EOF
text $(date)
EOF
  patch -Np1 -i ../fix.patch
}

package_tool() {
  depends+=("tool-docs=$pkgver-$pkgrel")
  install=tool.install
}
"#;

const SRCINFO_TEXT: &str = "pkgbase = tool\n\tpkgdesc = A tool\n\tpkgver = 1.2.3\n\tpkgrel = 2\n\turl = https://example.org/tool\n\t\
    arch = x86_64\n\tarch = aarch64\n\tlicense = MIT\n\tmakedepends = cmake\n\tdepends = glibc\n\t\
    source = https://example.org/tool/tool-1.2.3.tar.gz\n\tsource = https://example.org/tool/tool-1.2.3.tar.gz.sig\n\t\
    source = fix.patch\n\tvalidpgpkeys = 0123456789ABCDEF0123456789ABCDEF01234567\n\tsha256sums = @A\n\tsha256sums = SKIP\n\t\
    sha256sums = @B\n\tsource_x86_64 = https://example.org/tool/1.2/blob.bin\n\tsha256sums_x86_64 = @C\n\n\
    pkgname = tool\n\tinstall = tool.install\n\tdepends = glibc\n\tdepends = tool-docs=1.2.3-2\n\npkgname = tool-docs\n";

fn filled(text: &str) -> String {
    text.replace("@A", &"a1".repeat(32)).replace("@B", &"b2".repeat(32)).replace("@C", &"c3".repeat(32))
}

fn package() -> Folder {
    Folder::default()
        .with("PKGBUILD", filled(PKGBUILD_TEXT))
        .with(".SRCINFO", filled(SRCINFO_TEXT))
        .with("fix.patch", "--- a\n+++ b\n")
        .with("tool.install", "post_install() {\n  true\n}\n")
}

/// A package and the update that is proposed for it.
struct Update {
    old: Folder,
    new: Folder,
}

impl Update {
    fn none() -> Self {
        Self { old: package(), new: package() }
    }

    /// The everyday update: the version, the release, the checksums, and what follows from them.
    fn ordinary() -> Self {
        let mut update = Self::none();
        update.version("1.2.3", "1.3.0");
        update.release("2", "1");
        update.sums("a1", "0d");
        update.sums("c3", "4e");
        update
    }

    fn version(&mut self, from: &str, to: &str) {
        self.pkgbuild(&format!("pkgver={from}\n"), &format!("pkgver={to}\n"));
        self.srcinfo(&format!("pkgver = {from}\n"), &format!("pkgver = {to}\n"));
        self.srcinfo(&format!("tool-{from}.tar"), &format!("tool-{to}.tar"));
        self.srcinfo(&format!("docs={from}-"), &format!("docs={to}-"));
        let series = |version: &str| version.rsplit_once('.').map_or(version, |(front, _)| front).to_owned();
        if series(from) != series(to) {
            self.srcinfo(&format!("/{}/blob", series(from)), &format!("/{}/blob", series(to)));
        }
    }

    fn release(&mut self, from: &str, to: &str) {
        self.pkgbuild(&format!("pkgrel={from}\n"), &format!("pkgrel={to}\n"));
        self.srcinfo(&format!("pkgrel = {from}\n"), &format!("pkgrel = {to}\n"));
        self.srcinfo(&format!("-{from}\n"), &format!("-{to}\n"));
    }

    /// Replaces a checksum, given by the two digits it repeats, in both files.
    fn sums(&mut self, from: &str, to: &str) {
        self.sums_to(from, &to.repeat(32));
    }

    fn sums_to(&mut self, from: &str, to: &str) {
        self.pkgbuild(&from.repeat(32), to);
        self.srcinfo(&from.repeat(32), to);
    }

    fn pkgbuild(&mut self, from: &str, to: &str) {
        edit(&mut self.new, PKGBUILD, from, to);
    }

    fn srcinfo(&mut self, from: &str, to: &str) {
        edit(&mut self.new, SRCINFO, from, to);
    }

    /// Edits both sides: what stood there before the update.
    fn always(&mut self, file: &str, from: &str, to: &str) {
        edit(&mut self.old, file, from, to);
        edit(&mut self.new, file, from, to);
    }

    fn put(&mut self, path: &str, mode: FileMode, bytes: &str) {
        self.new.files.insert(path.to_owned(), File { mode, bytes: bytes.as_bytes().into() });
    }

    fn add(&mut self, path: &str, bytes: &str) {
        self.put(path, FileMode::Regular, bytes);
    }

    fn without_srcinfo(&mut self) {
        self.old.files.remove(SRCINFO);
        self.new.files.remove(SRCINFO);
    }

    fn verdict(&self) -> Verdict {
        classify(&self.old, &self.new)
    }
}

fn edit(folder: &mut Folder, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(bytes(folder, path).to_vec()).expect("text");
    assert!(text.contains(from), "{path} has no {from:?}");
    *folder = std::mem::take(folder).with(path, text.replace(from, to));
}

fn codes(verdict: &Verdict) -> Vec<&'static str> {
    verdict.reasons.iter().map(|reason| reason.code).collect()
}

/// Adds terms of use to both sides, which nothing verifies.
fn terms(update: &mut Update) {
    let (old, new) =
        ("        fix.patch)", "        fix.patch\n        terms-$pkgver.html::https://example.net/terms)");
    update.always(PKGBUILD, old, new);
    update.always(PKGBUILD, &format!("            '{}')", "b2".repeat(32)), &format!("'{}' 'SKIP')", "b2".repeat(32)));
    update.always(
        SRCINFO,
        "source = fix.patch\n",
        "source = fix.patch\n\tsource = terms-@::https://example.net/terms\n",
    );
    let sum = format!("sha256sums = {}\n", "b2".repeat(32));
    update.always(SRCINFO, &sum, &format!("{sum}\tsha256sums = SKIP\n"));
    edit(&mut update.old, SRCINFO, "terms-@", "terms-1.2.3.html");
    edit(&mut update.new, SRCINFO, "terms-@", "terms-1.3.0.html");
}
