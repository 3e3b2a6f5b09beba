// A Chaotic Manager of the time of BullMQ, on a stage: real workers of the queues `dispatch`, `builds` and `database`, of
// the version of BullMQ that it had. They take, put, keep and print what those of Chaotic Manager did; nothing is built.
"use strict";
const stage = require("./stage.cjs");
const { Queue, QueueEvents, UnrecoverableError, Worker } = stage.load("chaotic-bullmq");

const Status = { SUCCESS: 0, ALREADY_BUILT: 1, SKIPPED: 2 };
const connection = stage.redis();
const split = (id) => ({ target_repo: id.split("/")[0], pkgbase: id.split("/")[1] });
const logOf = (job) => new stage.Log(connection, split(job.id).pkgbase, job.data.timestamp);
const briefly = { removeOnComplete: true, removeOnFail: true };

const builds = new Queue("builds", { connection });
const database = new Queue("database", { connection });
const told = new QueueEvents("builds", { connection: stage.redis() });

// ---- the machine with the database

async function dispatch(job) {
    stage.say({ queue: "dispatch", name: job.name, id: job.id, data: job.data, opts: job.opts });
    const { target_repo, source_repo, commit, arch, packages } = job.data.data;
    const timestamp = Date.now();
    const jobs = packages.map(({ pkgbase, deptree }) => {
        const jobId = `${target_repo}/${pkgbase}`;
        const data = { arch, srcrepo: source_repo, timestamp, commit, deptree, repo_files: [] };
        const opts = { jobId, removeOnComplete: { age: 5 }, removeOnFail: { age: 5 } };
        return { name: `${jobId}-${timestamp}`, data, opts };
    });
    for (const { opts } of jobs) {
        if ((await builds.remove(opts.jobId)) === 1) continue;
        const running = await builds.getJob(opts.jobId);
        if (running && (await running.getState()) === "active") {
            const over = running.waitUntilFinished(told).catch(() => {});
            await connection.publish("cancel-job", opts.jobId);
            await over;
        }
    }
    await stage.pause(100);
    for (const added of await builds.addBulk(jobs)) {
        const log = logOf(added);
        void log.becomeDefault();
        log.line("Added to build queue at 1/1/2026, 00:00:00 UTC. Waiting for builder...");
    }
}

async function publish(job) {
    const { pkgbase } = split(job.id);
    if (pkgbase === "repo-remove") {
        stage.say({ queue: "database", name: job.name, id: job.id, data: job.data, opts: job.opts });
        if (job.data.pkgbases.length === 0) throw new UnrecoverableError("Intended package list is empty.");
        return;
    }
    const log = logOf(job);
    log.line("\r\nProcessing database job " + job.id + " at 1/1/2026, 00:00:00 UTC");
    if (stage.story(job.data.commit) === "is-not-published") {
        log.line(`Job ${job.id} failed at 1/1/2026, 00:00:00 UTC`);
        throw new Error("repo-add failed.");
    }
    log.line(`Finished job ${job.id} at 1/1/2026, 00:00:00 UTC.`);
}

async function finished({ jobId }) {
    const job = await builds.getJob(jobId);
    if (!job) return;
    void job.remove();
    if (job.returnvalue !== Status.SUCCESS) await logOf(job).end();
}

// ---- a builder

const stops = stage.redis();

async function build(job) {
    const { commit } = job.data;
    const log = logOf(job);
    stage.say({ begun: commit, job: { name: job.name, id: job.id } });
    log.line(`Processing build job ${job.id} at 1/1/2026, 00:00:00 UTC`);
    log.print("half of it\r\n");
    let isStopped = false;
    const stop = (channel, id) => (isStopped ||= channel === "cancel-job" && id === job.id);
    stops.on("message", stop);
    try {
        const story = stage.story(commit);
        if (story === "waits") {
            const word = await stage.wait(commit, () => isStopped);
            if (word === "lose") {
                const key = builds.toKey(job.id);
                await connection.multi().lrem(builds.toKey("active"), 0, job.id).del(key, `${key}:lock`).exec();
                return Status.SUCCESS;
            }
            if (word === "stop") {
                log.line(`Job ${job.id} cancelled.`);
                // Its container was killed.
                throw new Error("Building failed.");
            }
        }
        if (story === "is-there") return Status.ALREADY_BUILT;
        if (story === "skips") return Status.SKIPPED;
        if (story === "fails") throw new Error("Building failed.");
        if (story === "is-slow") throw new Error("Build timeout reached.");
        log.print("all of it\r\n");
        if (story === "is-not-brought") throw new Error("Upload failed.");
        const { repo_files, ...data } = job.data;
        await database.add("database", { ...data, packages: ["small-1-1-any.pkg.tar.zst"] }, { jobId: job.id, ...briefly });
    } finally {
        stops.off("message", stop);
    }
    return Status.SUCCESS;
}

// ---- what Chaotic Manager's own `schedule` and `auto-repo-remove` put, to compare with

async function schedule() {
    const queue = new Queue("dispatch", { connection });
    await queue.add("add-job", JSON.parse(process.env.SCHEDULE), briefly);
    process.exit(0);
}

async function main() {
    if (process.env.SCHEDULE) return schedule();
    await stops.subscribe("cancel-job");
    told.on("completed", finished);
    told.on("retries-exhausted", finished);
    const work = (name, job) => {
        const worker = new Worker(name, job, { connection: stage.redis() });
        // A job that was lost cannot be ended.
        worker.on("error", () => {});
        return worker;
    };
    const workers = [work("builds", build), work("database", publish)];
    if (!stage.fault("dispatch")) workers.push(work("dispatch", dispatch));
    await Promise.all([...workers, told].map((each) => each.waitUntilReady()));
    console.log("ready");
}

void main();
