// One makepkg, in a directory of its own.

import { execFileSync, spawn } from "node:child_process";
import { chmod, chown, mkdir, open, readdir } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as rest } from "node:timers/promises";

const [MAKEPKG, ...ARGUMENTS] = (process.env.MAKEPKG ?? "makepkg --nodeps --nocheck").split(" ");
const BUILT = ".pkg.tar.zst";

/** makepkg does not run as root. */
function nobody() {
  if (process.getuid() !== 0) return {};
  const id = (which) => Number(execFileSync("id", [which, "nobody"]));
  return { uid: id("-u"), gid: id("-g") };
}

async function unpack(stream, directory) {
  const tar = spawn("tar", ["-x", "--no-same-owner", "-C", directory], { stdio: ["pipe", "ignore", "inherit"] });
  const ended = once(tar, "exit");
  await pipeline(Readable.fromWeb(stream), tar.stdin);
  const [status] = await ended;
  if (status !== 0) throw new Error("the files of the package cannot be unpacked");
}

// What the monorepo changes before a build, as docs/builders.md says; then what is named behind it.
const CHANGED = String.raw`
[ ! -f .CI/prepare ] || (. ./.CI/prepare)
[ ! -f .CI/interfere.patch ] || patch -p1 <.CI/interfere.patch
for part in .CI/PKGBUILD.prepend PKGBUILD .CI/PKGBUILD.append; do
  [ ! -f "$part" ] || { cat "$part"; echo; }
done | sed "s/-march=native//g" >PKGBUILD.new
[ -z "$BUMP" ] || cat >>PKGBUILD.new <<END
if [[ \$(vercmp "$BUMP_OF" "\${epoch:-0}:\$pkgver-\$pkgrel") == 0 ]]; then
  if [[ \$pkgrel == *.* ]]; then pkgrel=\${pkgrel%%.*}.\$((10#\${pkgrel#*.} + $BUMP)); else pkgrel=\$pkgrel.$BUMP; fi
fi
END
mv PKGBUILD.new PKGBUILD
exec "$@"`;

async function give(directory, { uid, gid }) {
  await chown(directory, uid, gid);
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    await chown(join(entry.parentPath, entry.name), uid, gid);
  }
}

/** Sends the log as it grows, until `ended` and all of it is there. */
async function follow(path, controller, ended) {
  const begins = await controller.logLength();
  const file = await open(path);
  try {
    for (let sent = 0, over = false; ; ) {
      const now = await controller.bringLog(file, begins, sent);
      if (now === sent && over) return;
      if (now === sent) over = await Promise.race([ended.then(() => true), rest(1000, false)]);
      sent = now;
    }
  } finally {
    await file.close();
  }
}

/** Carries out a build: its exit status or the signal that ended it, and the packages that it made. */
export async function build(told, controller, work, stop) {
  const [start, made, log] = ["package", "made", "log"].map((name) => join(work, name));
  await chmod(work, 0o711);
  await mkdir(start);
  await mkdir(made);
  await unpack(await controller.files(), start);
  const user = nobody();
  if (user.uid !== undefined) {
    await give(start, user);
    await give(made, user);
  }
  const printed = await open(log, "w");
  const environment = {
    PATH: process.env.PATH, HOME: start, PKGDEST: made, PKGEXT: BUILT, SOURCE_DATE_EPOCH: String(told.source_date_epoch),
    BUMP: String(told.bump ?? ""), BUMP_OF: told.bump_of ?? "", CI_CODE_SKIP: String(told.skip_exit_code),
  };
  // A process group of its own, so that all of it can be stopped.
  const child = spawn("bash", ["-ec", CHANGED, "build", MAKEPKG, ...ARGUMENTS], {
    cwd: start, env: environment, detached: true, stdio: ["ignore", printed.fd, printed.fd], ...user,
  });
  const kill = () => child.exitCode === null && child.signalCode === null && process.kill(-child.pid, "SIGKILL");
  const ended = once(child, "exit");
  let timedOut = false;
  const timer = setTimeout(() => { timedOut = true; kill(); }, told.timeout_s * 1000);
  stop.addEventListener("abort", kill);
  if (stop.aborted) kill();
  const following = follow(log, controller, ended);
  // Where nobody takes the log any more, nobody takes the build.
  following.catch(kill);
  try {
    const [status, signal] = await ended;
    await following;
    const names = (await readdir(made)).filter((name) => name.endsWith(BUILT)).sort();
    return { status, signal, timedOut, packages: names.map((name) => join(made, name)) };
  } finally {
    clearTimeout(timer);
    await printed.close();
  }
}
