// A Chaotic Manager of today, on a stage: a real node of Moleculer with the services `coordinator` and `database`, and
// another with a `builder`. They say, answer, keep and print what those of Chaotic Manager do; nothing is built.
"use strict";
const stage = require("./stage.cjs");
const { ServiceBroker } = stage.load(stage.moleculer);

const Status = { SUCCESS: 0, ALREADY_BUILT: 1, SKIPPED: 2, FAILED: 3, TIMED_OUT: 4, CANCELED: 5 };
const API = 3;
const common = { settings: { $noVersionPrefix: true }, version: 1 };

function node(nodeID, buildClass, services) {
    const broker = new ServiceBroker({
        nodeID,
        logger: false,
        metadata: { build_class: buildClass, version: API },
        trackContext: true,
        transporter: { type: "Redis", options: stage.connection },
    });
    for (const service of services(broker)) broker.createService({ ...common, ...service });
    return broker;
}

// ---- the builder

function builder() {
    const redis = stage.redis();
    let isBusy = false;
    let isStopped = false;
    let over = Promise.resolve();

    async function build({ pkgbase, commit, timestamp }) {
        const log = new stage.Log(redis, pkgbase, timestamp);
        stage.say({ begun: commit });
        log.line("Processing build job at 1/1/2026, 00:00:00 UTC");
        log.print("half of it\r\n");
        const story = stage.story(commit);
        if (story === "floods") {
            while (!isStopped) {
                log.print("x".repeat(999) + "\n");
                await stage.pause(1);
            }
            return { success: Status.CANCELED };
        }
        if (story === "waits") {
            const word = await stage.wait(commit, () => isStopped);
            if (word === "stop") return { success: Status.CANCELED };
            if (word === "lose") return { lost: true };
        }
        if (story === "fails") return { success: Status.FAILED, duration: 1 };
        if (story === "is-there") return { success: Status.ALREADY_BUILT, duration: 1 };
        if (story === "skips") return { success: Status.SKIPPED, duration: 1 };
        if (story === "is-slow") return { success: Status.TIMED_OUT, duration: 1 };
        if (story === "explodes") throw new Error("the code blew up");
        log.print("all of it\r\n");
        if (story === "is-not-brought") {
            log.line("Failed to upload: Error: connect ECONNREFUSED");
            return { success: Status.FAILED };
        }
        log.line("Finished upload.");
        return { success: Status.SUCCESS, duration: 1, packages: [`${pkgbase}-1-1-any.pkg.tar.zst`] };
    }

    return {
        name: "builder",
        actions: {
            async buildPackage(ctx) {
                if (isBusy) throw new Error("two builds at once");
                isBusy = true;
                isStopped = false;
                const building = build(ctx.params).finally(() => (isBusy = false));
                over = building.catch(() => {});
                return building;
            },
            async cancelBuild() {
                stage.say({ action: "builder.cancelBuild" });
                isStopped = true;
                await over;
            },
        },
    };
}

// ---- the coordinator

function coordinator(broker) {
    const redis = stage.redis();
    const queue = new Map();
    const busy = new Set();

    const idOf = (job) => `${job.target_repo}/${job.arch}/${job.pkgbase}`;
    const savable = (job) => {
        const { pkgbase, target_repo, source_repo, arch, build_class, pkgnames, dependencies, commit, arch_mirror } = job;
        return { pkgbase, target_repo, source_repo, arch, build_class, pkgnames, dependencies, commit, arch_mirror };
    };
    const save = () => redis.set("build-queue", JSON.stringify({ save_queue: [...queue.values()].map(savable), version: API }));

    // How each end is told: the event, and the last line of the log.
    const ends = {
        [Status.SUCCESS]: ["builds.success", (id) => `Build job ${id} finished at 1/1/2026, 00:00:00 UTC...`],
        [Status.ALREADY_BUILT]: ["builds.alreadyBuilt", (id) => `Job ${id} skipped because all packages were already built.`],
        [Status.SKIPPED]: ["builds.skipped", (id) => `Job ${id} skipped intentionally via build tools.`],
        [Status.FAILED]: ["builds.failed", (id) => `Job ${id} failed`],
        [Status.TIMED_OUT]: ["builds.timeout", (id) => `Job ${id} reached a timeout during the build phase.`],
        [Status.CANCELED]: ["builds.canceled", (id) => `Job ${id} was canceled.`],
    };

    // What is told only once somebody has looked into the queue without finding the build there any more.
    const late = [];

    async function end(job, nodeID, result) {
        const id = idOf(job);
        const labels = {
            arch: job.arch,
            build_class: job.build_class,
            builder_name: nodeID.replace(/-\w{5}$/, ""),
            commit: job.commit,
            pkgname: job.pkgbase,
            replaced: Boolean(job.replacement),
            status: result.success,
            target_repo: job.target_repo,
            timestamp: job.timestamp,
        };
        let [event, line] = ends[result.success];
        if (result.success === Status.CANCELED && job.replacement) {
            event = "builds.replaced";
            line = () => `Job ${id} was canceled and replaced by a newer build request.`;
        }
        if (result.exploded) event = "builds.softwareFailure";
        job.log.line(line(id));
        if (stage.fault("late")) late.push([event, labels]);
        else if (!stage.fault("event")) await broker.broadcast(event, labels);
        void job.log.end();
        if (job.replacement) queue.set(id, job.replacement);
        else queue.delete(id);
    }

    async function assign() {
        const nodes = await broker.call("$node.list", { withServices: true });
        const free = nodes.filter(
            (node) =>
                node.metadata.version === API &&
                node.available &&
                node.services.some((service) => service.name === "builder") &&
                !busy.has(node.id),
        );
        for (const node of free) {
            const job = [...queue.values()].find((job) => !job.node && job.build_class <= node.metadata.build_class);
            if (!job) continue;
            job.node = node.id;
            busy.add(node.id);
            const { log, node: _, replacement, ...params } = job;
            broker
                .call("builder.buildPackage", params, { nodeID: node.id })
                .catch(() => ({ success: Status.FAILED, exploded: true }))
                .then((result) => (result.lost ? queue.delete(idOf(job)) : end(job, node.id, result)))
                .finally(() => {
                    busy.delete(node.id);
                    void assign();
                });
        }
        await save();
    }

    /** Begins anew, with what was saved. */
    async function restore() {
        const saved = JSON.parse((await redis.get("build-queue")) || '{"save_queue":[]}');
        const timestamp = Date.now();
        for (const data of saved.save_queue) {
            const log = new stage.Log(redis, data.pkgbase, timestamp);
            log.line(`Restored job ${idOf(data)} at 1/1/2026, 00:00:00 UTC`);
            await log.becomeDefault();
            queue.set(idOf(data), { ...data, timestamp, log });
        }
        await assign();
    }

    function silence(what) {
        return stage.fault(`silent-${what}`) ? new Promise(() => {}) : undefined;
    }

    return {
        name: "coordinator",
        events: { "$node.connected": { handler: assign } },
        started: restore,
        actions: {
            async addJobsToQueue(ctx) {
                stage.say({ action: "coordinator.addJobsToQueue", params: ctx.params });
                if (stage.fault("error-addJobsToQueue")) throw new Error("something is wrong");
                if (stage.fault("deaf-addJobsToQueue")) return new Promise(() => {});
                const { packages, ...rest } = ctx.params;
                const timestamp = Date.now();
                for (const { pkgbase, build_class, pkgnames, dependencies } of packages) {
                    const log = new stage.Log(redis, pkgbase, timestamp);
                    const job = { pkgbase, build_class: build_class || 1, pkgnames, dependencies, timestamp, log, ...rest };
                    void log.becomeDefault().then(() => log.line("Added to build queue at 1/1/2026, 00:00:00 UTC. Waiting for builder..."));
                    const previous = queue.get(idOf(job));
                    if (previous && previous.node) {
                        void ctx.call("builder.cancelBuild", undefined, { nodeID: previous.node }).catch(() => {});
                        previous.log.line("Job cancellation requested at 1/1/2026, 00:00:00 UTC. Job is being replaced by newer build request.");
                        previous.replacement = job;
                        continue;
                    }
                    if (previous) {
                        previous.log.line("Job was canceled and replaced with a new job before execution.");
                        void previous.log.end();
                    }
                    queue.set(idOf(job), job);
                }
                void assign();
                return silence("addJobsToQueue");
            },
            async autoRepoRemove(ctx) {
                stage.say({ action: "coordinator.autoRepoRemove", params: ctx.params });
                const result = await broker.call("database.autoRepoRemove", { builder_image: "builder:latest", ...ctx.params });
                stage.say({ removal: result.success });
            },
            getQueue() {
                if (stage.fault("error-getQueue")) {
                    stage.say({ refused: "getQueue" });
                    throw new Error("something is wrong");
                }
                for (const [event, labels] of late.splice(0)) setImmediate(() => broker.broadcast(event, labels));
                return [...queue.values()].map((job) => ({
                    status: job.node ? "active" : "queued",
                    node: job.node,
                    buildClass: job.build_class,
                    jobData: savable(job),
                }));
            },
            jobExists(ctx) {
                const { pkgbase, timestamp } = ctx.params;
                return [...queue.values()].some((job) => job.pkgbase === pkgbase && job.timestamp === timestamp);
            },
        },
    };
}

function database(broker) {
    return {
        name: "database",
        actions: {
            async autoRepoRemove(ctx) {
                const { pkgbases } = ctx.params;
                if (pkgbases.length === 0) throw new Error("Intended package list is empty. Assuming this is in error.");
                if (stage.fault("removal")) return { success: false };
                void broker.broadcast("database.removalComplete", pkgbases);
                return { success: true };
            },
        },
    };
}

// ---- what Chaotic Manager's own `schedule` says, to compare with

async function schedule() {
    const broker = node("chaotic-scheduler-ab1c2", 2, () => []);
    await broker.start();
    await broker.waitForServices(["coordinator"], 10000);
    await broker.call("coordinator.addJobsToQueue", JSON.parse(process.env.SCHEDULE));
    await broker.stop();
    process.exit(0);
}

async function main() {
    if (process.env.SCHEDULE) return schedule();
    const rook = node("rook-ab1c2", 5, () => [builder()]);
    const manager = node("database", 2, (broker) => [database(broker), coordinator(broker)]);
    await rook.start();
    await manager.start();
    await manager.waitForServices(["builder"]);
    console.log("ready");
}

void main();
