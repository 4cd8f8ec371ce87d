// Runs the real API for tests: taskapi with a PostgreSQL of its own, on the port that the frontend was built for.
//
//   let api: Api;
//   beforeAll(async () => {
//     api = await startApi({ env: { API_TOKENS: "ann:secret" } }); // about 4 s: one per test file is fine
//     return () => api.stop(); // nothing is left
//   });
//
//   await api.createTasks(["Buy milk"], { token: "secret" });
//   await api.kill(); // as a crash: at once, and connections break; terminate() is a deploy
//   await api.start(); // on the same data, about 3 s
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import type { Task } from "../../../src/api/client";
import { apiUrl, pageUrl } from "./place";

/** The project's folder, which the API is started in. */
export const ROOT = fileURLToPath(new URL("../../../../..", import.meta.url));
export const PYTHON = join(ROOT, ".venv/bin/python");
const GUNICORN = join(ROOT, ".venv/bin/gunicorn");
const PATIENCE = 60_000;

/**
 * Waits until the tests close its input, which also happens when they are killed, and removes what is left:
 * the API, its database, and the folder of both.
 */
const CLEANER = `
cat > /dev/null
cd "$0" || exit
[ -f pid ] && kill -s KILL -- "-$(cat pid)"
[ -f data/postgres/postmaster.pid ] && kill -s QUIT "$(head -n 1 data/postgres/postmaster.pid)"
tries=0
while [ -f data/postgres/postmaster.pid ] && [ $((tries += 1)) -lt 200 ]; do sleep 0.05; done
cd / && rm -rf "$0"
`;

export interface Options {
  /** Settings of taskapi, as in README.md. */
  env?: Record<string, string>;
}

export interface CallOptions {
  body?: unknown;
  /** An API token, or a JWT. */
  token?: string;
  headers?: Record<string, string>;
}

/** Starts an API with an empty database. */
export async function startApi({ env = {} }: Options = {}): Promise<Api> {
  for (const program of [PYTHON, GUNICORN]) {
    if (existsSync(program)) continue;
    throw new Error(`${program} is missing: run \`make frontend-test\` in the project's folder`);
  }
  const api = new Api(env);
  try {
    await api.start();
  } catch (error) {
    await api.stop();
    throw error;
  }
  return api;
}

export class Api {
  readonly url = apiUrl;
  readonly #env: Record<string, string>;
  readonly #folder = mkdtempSync(join(tmpdir(), "taskapi-test-"));
  readonly #cleaner: ChildProcess;
  #process: ChildProcess | undefined;

  constructor(env: Record<string, string>) {
    // Root's PostgreSQL runs as another user, who has to get there.
    chmodSync(this.#folder, 0o711);
    this.#cleaner = spawn("sh", ["-c", CLEANER, this.#folder], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    // The environment is what is given here, and nothing of ours.
    this.#env = {
      PATH: process.env["PATH"] ?? "",
      HOME: this.#folder,
      TMPDIR: this.#folder,
      ENV_FILE: "",
      DATA_DIR: join(this.#folder, "data"),
      PORT: new URL(this.url).port,
      CORS_ORIGINS: pageUrl,
      WEB_CONCURRENCY: "2",
      ...env,
    };
  }

  /** What the API has printed. */
  get log(): string {
    return readFileSync(this.#logFile, "utf8");
  }

  /** Starts it (again, after `kill`), and returns when it is ready. */
  async start(): Promise<void> {
    const log = openSync(this.#logFile, "a");
    // A group of its own, so that kill() reaches the workers, too.
    const child = spawn(GUNICORN, ["wsgi:app"], {
      cwd: ROOT,
      env: this.#env,
      stdio: ["ignore", log, log],
      detached: true,
    });
    closeSync(log);
    this.#process = child;
    writeFileSync(this.#pidFile, String(child.pid));
    const deadline = Date.now() + PATIENCE;
    while (!(await this.#isReady())) {
      if (hasEnded(child)) throw new Error(`the API ended before it was ready:\n${this.log}`);
      if (Date.now() > deadline) throw new Error(`the API is not ready after ${PATIENCE / 1000} s:\n${this.log}`);
      await sleep(50);
    }
  }

  /** Ends it at once, as kill -9 does. Its database goes on, so `start` finds everything that it has acknowledged. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.pid !== undefined && !hasEnded(child)) process.kill(-child.pid, "SIGKILL");
    await this.#end();
  }

  /** Ends it as a deploy does: streams end in order. `start` begins again on the same data. */
  async terminate(): Promise<void> {
    this.#process?.kill("SIGTERM");
    await this.#end();
  }

  /** Ends it for good, and removes its data. */
  async stop(): Promise<void> {
    await this.kill();
    this.#cleaner.stdin?.end();
    await ended(this.#cleaner);
  }

  /** Asks the API behind the page's back: `api.call<Task>("PATCH", `/tasks/${id}/complete`)`. Throws its sentence. */
  async call<Data>(method: string, path: string, { body, token, headers = {} }: CallOptions = {}): Promise<Data> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const { success, data, error } = (await response.json()) as { success: boolean; data: Data; error: string | null };
    if (!success) throw new Error(`${method} ${path}: ${response.status} ${error ?? ""}`);
    return data;
  }

  /** Creates tasks, in this order: the last one is the newest. Titles alone will do. */
  async createTasks(
    tasks: (string | { title: string; description?: string | null })[],
    options: CallOptions = {},
  ): Promise<Task[]> {
    const created: Task[] = [];
    for (let at = 0; at < tasks.length; at += 1000) {
      const create = tasks.slice(at, at + 1000).map((task) => (typeof task === "string" ? { title: task } : task));
      created.push(...(await this.call<Task[]>("POST", "/tasks/bulk", { ...options, body: { create } })));
    }
    return created;
  }

  /** Creates this many tasks, for tests of a long list. */
  async fill(count: number): Promise<void> {
    const numbers = Array.from({ length: count }, (_, index) => index);
    await this.createTasks(numbers.map((number) => ({ title: `Task ${number}`, description: "Some words about it" })));
  }

  async createTask(title: string, options: CallOptions = {}): Promise<Task> {
    return this.call<Task>("POST", "/tasks", { ...options, body: { title } });
  }

  /** Every task: the open ones first, then the newest first. */
  async tasks(options: CallOptions = {}): Promise<Task[]> {
    return this.call<Task[]>("GET", "/tasks", options);
  }

  /** Deletes every task, for the next test. The history stays. */
  async deleteTasks(options: CallOptions = {}): Promise<void> {
    const ids = (await this.tasks(options)).map(({ id }) => id);
    for (let at = 0; at < ids.length; at += 1000) {
      await this.call("POST", "/tasks/bulk", { ...options, body: { delete: ids.slice(at, at + 1000) } });
    }
  }

  async #end(): Promise<void> {
    if (this.#process) await ended(this.#process);
    this.#process = undefined;
    rmSync(this.#pidFile, { force: true });
  }

  get #pidFile(): string {
    return join(this.#folder, "pid");
  }

  get #logFile(): string {
    return join(this.#folder, "taskapi.log");
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(`${this.url}/api/v1/health/ready`)).ok;
    } catch {
      return false;
    }
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function ended(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, "exit");
}
