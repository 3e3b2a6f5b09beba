// What both managers on stage have in common: the tests tell them through files what builds do, and read what was said.
//
// usage: node MANAGER TOOLS PORT PLAY [MOLECULER]
//   PLAY/COMMIT         what the build of that commit does: succeeds, fails, waits, ...
//   PLAY/COMMIT.go      a build that waits may go on
//   PLAY/COMMIT.lose    nobody knows of the build any more
//   PLAY/fault-WHAT     something goes wrong
//   PLAY/said           what was asked and begun, a line of JSON each
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");

const [, , tools, port, play, moleculer] = process.argv;
const load = createRequire(path.join(tools, "node_modules", "/"));
const Redis = load("ioredis");

const WEEK = 60 * 60 * 24 * 7;

exports.load = load;
exports.moleculer = moleculer || "moleculer";
exports.connection = { host: "127.0.0.1", port: Number(port) };
exports.redis = () => new Redis({ ...exports.connection, maxRetriesPerRequest: null });

exports.say = (what) => fs.appendFileSync(path.join(play, "said"), JSON.stringify(what) + "\n");

const file = (name) => path.join(play, name);
exports.fault = (what) => fs.existsSync(file(`fault-${what}`));
exports.story = (commit) => fs.readFileSync(file(commit.split(":")[0]), "utf8");

exports.pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Waits until a build may go on ("go"), is lost ("lose"), or is stopped ("stop"). */
exports.wait = async (commit, isStopped) => {
    for (;;) {
        if (isStopped()) return "stop";
        for (const word of ["go", "lose"]) if (fs.existsSync(file(`${commit.split(":")[0]}.${word}`))) return word;
        await exports.pause(10);
    }
};

/** The log of one build, as Chaotic Manager keeps it. */
exports.Log = class {
    constructor(redis, pkgbase, timestamp) {
        Object.assign(this, { redis, pkgbase, timestamp });
        this.channel = `build-logs.${pkgbase}.${timestamp}`;
        this.key = `build-logs:${pkgbase}:${timestamp}`;
    }
    print(text) {
        const pipeline = this.redis.pipeline();
        pipeline.publish(this.channel, "LOG" + text);
        pipeline.append(this.key, text);
        pipeline.expire(this.key, WEEK);
        void pipeline.exec();
    }
    line(text) {
        this.print(text + "\r\n");
    }
    end() {
        return this.redis.publish(this.channel, "END");
    }
    becomeDefault() {
        return this.redis.set(`build-logs:${this.pkgbase}:default`, this.timestamp, "EX", WEEK);
    }
};
