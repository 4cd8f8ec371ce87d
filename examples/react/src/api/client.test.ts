// What is an answer, what is a refusal, and what is neither.
import { expect, test, vi } from "vitest";
import { API_URL, ApiError, ask, linkOf, NoAnswer, nextCursor, versionOf } from "./client";

vi.hoisted(() => vi.stubGlobal("sessionStorage", { getItem: () => null }));

const TASKS = "/api/v1/tasks";

function answered(status: number, { data, error, ...headers }: Record<string, unknown> = {}) {
  const response = new Response(null, { status, headers: headers as Record<string, string> });
  return Promise.resolve({ response, ...(data !== undefined && { data }), ...(error !== undefined && { error }) });
}

const refusal = (error: string) => ({ success: false, data: null, popup: null, error });

async function failure(request: Parameters<typeof ask>[0]): Promise<unknown> {
  return ask(request).then(
    () => expect.unreachable("it did not fail"),
    (error: unknown) => error,
  );
}

test("an answer comes with its response", async () => {
  const envelope = { success: true, data: [], popup: null, error: null };
  const { answer, response } = await ask(answered(200, { data: envelope, ETag: '"7"' }));
  expect(answer).toBe(envelope);
  expect(versionOf(response)).toBe(7);
});

test.each([401, 404, 409, 412, 422, 500])(
  "%d of the API is a refusal, with its sentence and its id",
  async (status) => {
    const error = await failure(answered(status, { error: refusal("So it is."), "X-Request-Id": "abc" }));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ status, message: "So it is.", requestId: "abc" });
  },
);

test("503 of the API asks to come again", async () => {
  const error = await failure(answered(503, { error: refusal("The database is down."), "Retry-After": "7" }));
  expect(error).toBeInstanceOf(NoAnswer);
  expect(error).toMatchObject({ retryAfter: 7 });
});

test.each([500, 502, 503, 504])("a proxy's page with %d is no answer", async (status) => {
  for (const error of ["<html>Bad gateway</html>", undefined, {}, null]) {
    expect(await failure(answered(status, { error }))).toEqual(new NoAnswer());
  }
});

test.each([
  ["1e9", 3600],
  ["Infinity", 3600],
  ["-5", -5],
])("a Retry-After of %s is a wait of %d s: no timer takes more than 24 days", async (text, seconds) => {
  const error = await failure(answered(503, { error: "", "Retry-After": text }));
  expect(error).toMatchObject({ retryAfter: seconds });
});

test.each([undefined, null, {}, [], { data: null }, "<html>Welcome</html>"])(
  "a success that is not the API's is no answer: %j",
  async (data) => {
    expect(await failure(answered(200, { data }))).toBeInstanceOf(NoAnswer);
  },
);

test("a proxy's Retry-After may be a date: it is not understood, and does no harm", async () => {
  const error = await failure(answered(503, { error: "", "Retry-After": "Thu, 26 Nov 2026 10:30:00 GMT" }));
  expect(error).toMatchObject({ retryAfter: 0 });
});

test("a proxy's refusal is one, with the status as its sentence", async () => {
  const error = await failure(answered(403, { error: "<html>Forbidden</html>" }));
  expect(error).toMatchObject({ name: "ApiError", status: 403, message: "The service answered 403." });
});

test("a network that fails, or a text that is no JSON, is no answer", async () => {
  expect(await failure(Promise.reject(new TypeError("fetch failed")))).toBeInstanceOf(NoAnswer);
  expect(await failure(Promise.reject(new SyntaxError("Unexpected token <")))).toBeInstanceOf(NoAnswer);
  expect(await failure(Promise.reject(new DOMException("too slow", "TimeoutError")))).toBeInstanceOf(NoAnswer);
});

test("who stops a request gets no error of the service", async () => {
  const stopped = new DOMException("stopped", "AbortError");
  expect(await failure(Promise.reject(stopped))).toBe(stopped);
});

test("links are found by what they are for", () => {
  const both = `<${TASKS}?cursor=a%2Cb&limit=2>; rel="next", </api/v1/changes?after=x%3Ay>; rel="monitor"`;
  const response = new Response(null, { headers: { Link: both } });
  expect(linkOf(response, "next")?.href).toBe(`${API_URL}${TASKS}?cursor=a%2Cb&limit=2`);
  expect(nextCursor(response)).toBe("a,b");
  expect(linkOf(response, "monitor")?.searchParams.get("after")).toBe("x:y");
  expect(linkOf(response, "prev")).toBeNull();
  expect(nextCursor(new Response(null, { headers: { Link: "<https://elsewhere.example/>;rel=help" } }))).toBeNull();
  expect(nextCursor(new Response(null))).toBeNull();
});

test.each([
  ['"7"', 7],
  ['W/"12"', 12],
  [null, 0],
  ['"list-abc"', 0],
])("the version of the ETag %s is %d", (etag, version) => {
  expect(versionOf(new Response(null, { headers: etag === null ? {} : { ETag: etag } }))).toBe(version);
});
