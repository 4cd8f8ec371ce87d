// A write goes on until there is an answer, and happens once: against a real server that fails.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import createClient from "openapi-fetch";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { session } from "../session/session";
import { ApiError, SignedOut } from "./client";
import { saving } from "./saving";
import type { paths } from "./schema";
import { write } from "./write";

vi.hoisted(() => {
  vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => undefined, removeItem: () => undefined });
  vi.stubGlobal("window", new EventTarget());
});

type Behaviour = (response: ServerResponse, request: IncomingMessage) => void;

const TASK = { id: "22c5e856-3170-447a-a9d0-6faa974dd44e", title: "Buy milk" };

const breaks: Behaviour = (_, request) => request.socket.destroy();
const breaksWithin: Behaviour = (response) => {
  response.writeHead(201, { "Content-Type": "application/json", "Content-Length": "500" });
  response.write('{"success": tr', () => response.destroy());
};
const says =
  (status: number, { data = null, error = null, ...headers }: Record<string, unknown>): Behaviour =>
  (response) => {
    const popup = status < 300 ? "TASK_CREATED" : null;
    response.writeHead(status, { "Content-Type": "application/json", ...(headers as Record<string, string>) });
    response.end(JSON.stringify({ success: status < 300, data, popup, error }));
  };
const proxyPage: Behaviour = (response) => {
  response.writeHead(502, { "Content-Type": "text/html" });
  response.end("<h1>Bad gateway</h1>");
};
const created = says(201, { data: TASK, ETag: '"1"' });

let behaviours: Behaviour[];
let seen: { key: string | undefined; body: string; at: number }[];
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    seen.push({ key: request.headers["idempotency-key"] as string | undefined, body, at: performance.now() });
    (behaviours.shift() ?? created)(response, request);
  });
});

beforeEach(async () => {
  seen = [];
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

function createTask() {
  const { port } = server.address() as AddressInfo;
  const client = createClient<paths, "application/json">({ baseUrl: `http://127.0.0.1:${port}` });
  return write(({ headers }) =>
    client.POST("/api/v1/tasks", { body: { title: TASK.title }, params: { header: headers } }),
  );
}

test("the same request with the same key is sent until it is answered", async () => {
  const busy = says(503, { error: "The database is down.", "Retry-After": "1" });
  behaviours = [busy, breaks, breaksWithin, proxyPage, created];
  const { answer, response } = await createTask();
  expect(answer.data).toEqual(TASK);
  expect(response.status).toBe(201);
  expect(seen).toHaveLength(5);
  expect(seen[0]?.key).toMatch(/^[0-9a-f]{32}$/);
  expect(new Set(seen.map(({ key }) => key)).size).toBe(1);
  expect(new Set(seen.map(({ body }) => body))).toEqual(new Set([JSON.stringify({ title: TASK.title })]));
  const waits = seen.slice(1).map(({ at }, number) => at - (seen[number]?.at ?? 0));
  // The pauses grow, and are at least as long as the API asks for.
  expect(waits[0]).toBeGreaterThan(950);
  expect(waits[3]).toBeGreaterThan(1950);
});

test("each write has a key of its own", async () => {
  behaviours = [];
  await createTask();
  await createTask();
  expect(new Set(seen.map(({ key }) => key)).size).toBe(2);
});

test.each([401, 404, 409, 412, 422, 500])("a refusal with %d is not repeated", async (status) => {
  behaviours = [says(status, { error: "No." })];
  await expect(createTask()).rejects.toEqual(new ApiError(status, "No.", null));
  expect(seen).toHaveLength(1);
});

test("what waits is sent at once when the service is known to answer again", async () => {
  behaviours = [says(503, { error: "Down.", "Retry-After": "3600" }), created];
  const wait = vi.spyOn(saving, "wait").mockClear();
  const writing = createTask();
  await vi.waitUntil(() => wait.mock.calls.length > 0, { timeout: 5000 });
  expect(wait).toHaveBeenCalledWith(3600);
  saving.wake();
  await writing;
  expect(seen).toHaveLength(2);
});

test("what waits is not sent as somebody else", async () => {
  const jwt = (sub: string) => `e30.${Buffer.from(JSON.stringify({ sub })).toString("base64url")}.c2ln`;
  behaviours = [says(503, { error: "Down.", "Retry-After": "3600" }), created];
  session.signIn(jwt("ann"));
  const wait = vi.spyOn(saving, "wait").mockClear();
  const writing = createTask();
  const refused = expect(writing).rejects.toBeInstanceOf(SignedOut);
  await vi.waitUntil(() => wait.mock.calls.length > 0, { timeout: 5000 });
  session.signOut();
  session.signIn(jwt("ben"));
  saving.wake();
  await refused;
  expect(seen).toHaveLength(1);
});

test("a token that expires in the middle: the write waits for the same person, and goes on with its key", async () => {
  const jwt = (sub: string, iat: number) =>
    `e30.${Buffer.from(JSON.stringify({ sub, iat })).toString("base64url")}.c2ln`;
  session.signIn(jwt("ann", 1));
  behaviours = [
    (response, request) => {
      // As the client's middleware does.
      session.refused(`Bearer ${jwt("ann", 1)}`);
      says(401, { error: "The token has expired." })(response, request);
    },
    created,
  ];
  const writing = createTask();
  await vi.waitUntil(() => seen.length === 1, { timeout: 5000 });
  session.signIn(jwt("ann", 2));
  await writing;
  expect(seen).toHaveLength(2);
  expect(new Set(seen.map(({ key }) => key)).size).toBe(1);
});
