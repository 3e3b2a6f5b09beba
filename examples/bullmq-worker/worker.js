#!/usr/bin/env node
// Takes builds of pkgwarden out of a queue of BullMQ, carries each out with makepkg, and brings what came of it: a worker
// written from docs/builders.md alone. Needs bash, tar, patch and makepkg, and a machine of its own: what it builds can do there
// whatever the user may that makepkg runs as. Run it as root, and makepkg runs as `nobody`: as anybody else, packages run as
// the same user, and can read REDIS_URL with its password out of /proc.
//
// Environment: REDIS_URL (redis://127.0.0.1:6379/0), QUEUES (builds), PREFIX (bull), SLOTS (1), and
// MAKEPKG (makepkg --nodeps --nocheck): with `--syncdeps` it needs sudo, what `pacman_repositories` names in pacman.conf, and the keys of
// `pacman_keyrings` in pacman's keyring.

import { mkdtemp, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { UnrecoverableError, Worker } from "bullmq";
import { Redis } from "ioredis";
import { Controller, Over } from "./controller.js";
import { build } from "./makepkg.js";

const { REDIS_URL = "redis://127.0.0.1:6379/0", QUEUES = "builds", PREFIX = "bull", SLOTS = "1" } = process.env;

/** The status of a makepkg that finds its packages in PKGDEST. */
const ALREADY_BUILT = 13;

/** What a build throws that did not come to a good end, as the message of the error. */
function failure(status, kind, message, exit_code) {
  return new UnrecoverableError(JSON.stringify({ status, kind, exit_code, message }));
}

/** Carries out one job: what it returns and throws is what docs/executors.md says. */
async function carryOut(job, lock, lost) {
  const began = Date.now();
  if (job.data.schema !== 1 || !job.data.token) {
    throw failure("failed", "infrastructure", "this is no build document that this worker knows");
  }
  const controller = new Controller(job.data, lock);
  const work = await mkdtemp(join(tmpdir(), "build-"));
  // Nobody wants it any more, or another worker has it.
  const stop = new AbortController();
  lost?.addEventListener("abort", () => stop.abort("another worker has this build"));
  const ending = new AbortController();
  try {
    await controller.claim();
    controller.untilUnwanted(ending.signal).then((why) => why && stop.abort(why), () => {});
    await job.log(`makepkg runs on ${hostname()}; its output is in the log of the build`);
    const end = await build(job.data, controller, work, stop.signal);
    if (stop.signal.aborted) throw failure("cancelled", "infrastructure", String(stop.signal.reason));
    if (end.timedOut) throw failure("timed_out", "package", `it took longer than ${job.data.timeout_s} seconds`);
    // Nobody here sent it: the machine goes down, or has no memory left.
    if (end.signal) throw failure("failed", "infrastructure", `makepkg was ended by ${end.signal}`);
    if (end.status === job.data.skip_exit_code) return { status: "skipped" };
    if (end.status === ALREADY_BUILT) return { status: "already_built" };
    if (end.status !== 0) throw failure("failed", "package", `makepkg ended with status ${end.status}`, end.status);
    const artefacts = [];
    for (const path of end.packages) artefacts.push(await controller.bring(path, stop.signal));
    return { status: "succeeded", artefacts, duration_s: (Date.now() - began) / 1000 };
  } catch (error) {
    if (error instanceof UnrecoverableError) throw error;
    if (stop.signal.aborted || error instanceof Over) {
      throw failure("cancelled", "infrastructure", String(stop.signal.reason ?? error.message));
    }
    throw failure("failed", "infrastructure", String(error.message ?? error));
  } finally {
    ending.abort();
    await rm(work, { recursive: true, force: true });
  }
}

const connection = new Redis(REDIS_URL, { maxRetriesPerRequest: null });
const workers = QUEUES.split(",").map((queue) => {
  const options = { connection, prefix: PREFIX, concurrency: Number(SLOTS), maxStalledCount: 3 };
  const worker = new Worker(queue, carryOut, options);
  // Somebody else is given what we do not hold: it is stopped here.
  worker.on("lockRenewalFailed", (jobs) => jobs.forEach((job) => worker.cancelJob(job, "another worker has this build")));
  worker.on("active", (job) => console.error(`builds ${job.id}`));
  worker.on("completed", (job) => console.error(`built ${job.id}`));
  worker.on("failed", (job, error) => console.error(`failed ${job?.id}: ${error.message}`));
  worker.on("error", (error) => console.error(`Redis: ${error.message}`));
  return worker;
});
for (const worker of workers) await worker.waitUntilReady();
console.error(`takes builds from ${QUEUES}`);

// Builds under way may end; no others are taken.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    await Promise.all(workers.map((worker) => worker.close()));
    await connection.quit();
    process.exit(0);
  });
}
