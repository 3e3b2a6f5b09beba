// Speaks with pkgwarden for one build. It may be away for a while at any time: it is asked again until it answers.

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout as rest } from "node:timers/promises";

const PART = 8 << 20;
const PIECE = 256 << 10;

/** Nobody takes what this build makes: it is over, or another worker has it. */
export class Over extends Error {}

/** SHA-256 and size of a file. */
async function digest(file) {
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { hash, size };
}

async function read(file, start, length) {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, start);
  return buffer.subarray(0, bytesRead);
}

export class Controller {
  #build;
  #headers;

  constructor(build, lock) {
    this.#build = build;
    this.#headers = { Authorization: `Bearer ${build.token}`, Claim: lock };
  }

  /** Asks until there is an answer that is not "later". Never follows a redirect: the token goes nowhere else. */
  async ask(method, url, { headers = {}, body, signal } = {}) {
    for (let pause = 200; ; pause = Math.min(pause * 2, 10_000)) {
      let after = 0;
      try {
        const answer = await fetch(url, {
          method, body, redirect: "error", headers: { ...this.#headers, ...headers }, signal,
        });
        const { status } = answer;
        // A proxy in front of the controller says such things, too, while the controller starts anew.
        const isTheirs = (answer.headers.get("content-type") ?? "").startsWith("application/problem+json");
        if (isTheirs && (status === 401 || status === 410)) throw new Over((await answer.json()).detail ?? "over");
        if (![401, 408, 410, 429].includes(status) && status < 500) return answer;
        after = Number(answer.headers.get("retry-after") ?? 0) * 1000;
      } catch (error) {
        if (error instanceof Over || signal?.aborted) throw error;
      }
      await rest(Math.max(pause, after), undefined, { signal });
    }
  }

  async #accepted(what, answer) {
    if (answer.ok) return answer;
    const { detail } = await answer.json().catch(() => ({}));
    throw new Error(`${what} is refused: ${detail ?? answer.status}`);
  }

  /** From now on the build is ours: whoever had it before brings nothing more. */
  async claim() {
    if (this.#build.claim) await this.#accepted("the claim", await this.ask("PUT", this.#build.claim));
  }

  /** The files of the package, as a stream of a tar archive. */
  async files() {
    const answer = await this.#accepted("the archive", await this.ask("GET", this.#build.files));
    return answer.body;
  }

  /** Ends when the build is to stop, with the reason. */
  async untilUnwanted(signal) {
    while (!signal.aborted) {
      const asked = Date.now();
      try {
        const answer = await this.ask("GET", `${this.#build.wish}?wait=50`, { signal });
        if (answer.ok && (await answer.json()).wish === "cancelled") return "the build was cancelled";
      } catch (error) {
        if (error instanceof Over) return error.message;
      }
      if (Date.now() - asked < 1000 && !signal.aborted) await rest(1000);
    }
  }

  /** How much of what this build printed is there: more than nothing if another worker had it before. */
  async logLength() {
    const answer = await this.#log(0, new Uint8Array());
    return Number(answer.headers.get("log-length") ?? 0);
  }

  /** Sends what was printed from `sent` on, as far as it is in the file; returns how much is there then. */
  async bringLog(file, begins, sent) {
    const piece = await read(file, sent, PIECE);
    if (piece.length === 0 || !this.#build.log) return sent + piece.length;
    const answer = await this.#log(begins + sent, piece);
    if (answer.status !== 409) await this.#accepted("the log", answer);
    return Number(answer.headers.get("log-length")) - begins;
  }

  #log(offset, body) {
    return this.ask("PUT", `${this.#build.log}?offset=${offset}`, { body });
  }

  /** Brings a package from where it stopped, and says what is told of it at the end. */
  async bring(path, signal) {
    const file = await open(path);
    try {
      const { hash, size } = await digest(file);
      const name = basename(path);
      const [sha256, repr] = [hash.copy().digest("hex"), hash.digest("base64")];
      const url = `${this.#build.artefacts}/${encodeURIComponent(name)}`;
      const there = await this.ask("HEAD", url, { signal });
      let at = there.ok ? Number(there.headers.get("upload-offset")) : 0;
      for (let tries = 0; at < size; ) {
        const part = await read(file, at, Math.min(PART, size - at));
        const headers = {
          "Content-Range": `bytes ${at}-${at + part.length - 1}/${size}`,
          "Repr-Digest": `sha-256=:${repr}:`,
        };
        const answer = await this.ask("PUT", url, { headers, body: part, signal });
        if (answer.status === 200 || answer.status === 201) break;
        const next = answer.headers.get("upload-offset");
        if (next === null && tries++ >= 3) await this.#accepted(name, answer);
        at = Number(next ?? 0);
      }
      return { name, size, sha256 };
    } finally {
      await file.close();
    }
  }
}
