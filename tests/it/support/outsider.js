// Somebody who knows BullMQ and nothing of pkgwarden: looks at the queue `builds` as bull-board does, and does what the npm
// package lets anybody do. Prints one JSON document.

import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const STATES = ["waiting", "prioritized", "active", "completed", "failed", "delayed", "paused", "waiting-children"];
const LOCK = "outsider:1";

const connection = new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const queue = new Queue("builds", { connection });
const [word, ...words] = process.argv.slice(2);
const worker = () => new Worker("builds", null, { connection, autorun: false, lockDuration: 1000 });

async function shown(state, job) {
  const { logs } = await queue.getJobLogs(job.id);
  const { id, name, data, progress, failedReason, returnvalue, attemptsMade, processedBy } = job.toJSON();
  const by = processedBy ?? job.processedBy ?? null;
  return [data.pkgbase ?? id, { state, is: await job.getState(), id, name, progress, failedReason, returnvalue, attemptsMade, by, logs }];
}

const does = {
  async look() {
    const jobs = [];
    for (const state of STATES) {
      for (const job of await queue.getJobs([state], 0, 99)) jobs.push(await shown(state, job));
    }
    const workers = (await queue.getWorkers()).map((worker) => worker.rawname);
    const { waiting, prioritized, active, completed, failed } = await queue.getJobCounts(...STATES);
    return { counts: { waiting, prioritized, active, completed, failed }, jobs: Object.fromEntries(jobs), workers };
  },
  // A person raises a job.
  async urge(pkgbase) {
    const jobs = await queue.getJobs(["waiting"]);
    await jobs.find((job) => job.data.pkgbase === pkgbase).changePriority({ priority: 3 });
    return null;
  },
  // A worker of somebody's takes three: one comes to a good end, one to a bad one, and one is left alone.
  async carry(returned, thrown) {
    const taker = worker();
    const [good, bad, left] = [await taker.getNextJob(LOCK), await taker.getNextJob(LOCK), await taker.getNextJob(LOCK)];
    await good.moveToCompleted(JSON.parse(returned), LOCK, false);
    await bad.moveToFailed(new Error(thrown), LOCK, false);
    await left.updateProgress(50);
    await left.log("half of it");
    await taker.close();
    return { good: good.data.pkgbase, bad: bad.data.pkgbase, left: left.data.pkgbase };
  },
  // Jobs that nobody ordered.
  async add() {
    const [ordered] = await queue.getJobs(["waiting"]);
    await queue.add("greeting", { hello: "world" });
    const forged = { ...ordered.data, attempt: "0-0-forged", pkgbase: "forged", token: "forged" };
    await queue.add("build", forged, { jobId: "packages/x86_64/forged/0-0-forged" });
    const again = await queue.add("build", { ...ordered.data, pkgbase: "other" }, { jobId: ordered.id });
    return { ordered: ordered.data.pkgbase, again: again.id === ordered.id };
  },
};

if (word === "idle") {
  await worker().waitUntilReady();
  console.error("ready");
  setInterval(() => {}, 1000);
} else {
  console.log(JSON.stringify(await does[word](...words)));
  await queue.close();
  await connection.quit();
}
