// Asks the API: a client with the types of its OpenAPI document, and two kinds of errors.
import createClient from "openapi-fetch";
import { session } from "../session/session";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Task = Schemas["Task"];
export type Change = Schemas["Change"];
export type HistoryEntry = Schemas["HistoryEntry"];
export type Version = Schemas["Version"];
export type ActionType = Schemas["ActionType"];
export type Popup = Schemas["Popup"];
export type Undo = Schemas["Undo"];
export type Undone = Schemas["Undone"];

/** Where the API is. Without a trailing slash. */
export const API_URL: string = (import.meta.env.VITE_API_URL as string | undefined) ?? "http://localhost:8000";

/** The API refused: `message` is its sentence, for the person. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  /** Quote it to the operator: the log has a line with it. */
  readonly requestId: string | null;

  constructor(status: number, sentence: string, requestId: string | null) {
    super(sentence);
    this.status = status;
    this.requestId = requestId;
  }
}

/** No answer came, or none of the API: a write may have happened, or not. `retryAfter` is in seconds. */
export class NoAnswer extends Error {
  override name = "NoAnswer";
  readonly retryAfter: number;

  constructor(retryAfter = 0) {
    super("The service does not answer.");
    this.retryAfter = retryAfter;
  }
}

/** The person signed out, or somebody else in, before the write was answered. It is none of the next one's business. */
export class SignedOut extends Error {
  override name = "SignedOut";
  override message = "It was not saved before you signed out.";
}

/** What openapi-fetch returns. The envelope of a success is `data`, that of a failure `error`. */
interface Result<Answer> {
  data?: Answer;
  error?: unknown;
  response: Response;
}

export interface Answered<Answer> {
  answer: Answer;
  response: Response;
}

/** Milliseconds. An answer that takes longer is taken for lost. */
const PATIENCE = 20_000;

/** Seconds. A server that asks for more is tried again after these. */
const LONGEST_WAIT = 3600;

// Of the two ways in which the changes come, the JSON one. Streams are read in live/events.ts.
export const api = createClient<paths, "application/json">({
  baseUrl: API_URL,
  fetch: (request) =>
    fetch(request, {
      signal: AbortSignal.any([request.signal, AbortSignal.timeout(PATIENCE)]),
      // A browser would follow with a GET: its answer is not that of a write.
      redirect: "error",
    }),
});

api.use({
  onRequest({ request }) {
    const token = session.token();
    if (token !== null) request.headers.set("Authorization", `Bearer ${token}`);
  },
  onResponse({ request, response }) {
    if (response.status === 401) session.refused(request.headers.get("Authorization"));
  },
});

/** The answer of a request of `api`. Throws ApiError where the API refused, NoAnswer where nothing came back. */
export async function ask<Answer>(request: Promise<Result<Answer>>): Promise<Answered<Answer>> {
  let result: Result<Answer>;
  try {
    result = await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new NoAnswer();
  }
  const { data, error, response } = result;
  // Whoever else answers 2xx, such as a proxy with a page of its own, has not done what was asked.
  if (response.ok && !isSuccess(data)) throw new NoAnswer();
  if (response.ok && data !== undefined) return { answer: data, response };
  const sentence = sentenceOf(error);
  // A proxy's error page is no answer of the API, and 503 is one that asks to come again.
  if (response.status === 503 || (sentence === null && response.status >= 500)) {
    throw new NoAnswer(Math.min(Number(response.headers.get("Retry-After")) || 0, LONGEST_WAIT));
  }
  throw new ApiError(
    response.status,
    sentence ?? `The service answered ${response.status}.`,
    response.headers.get("X-Request-Id"),
  );
}

const isSuccess = (data: unknown) => (data as { success?: unknown } | null | undefined)?.success === true;

function sentenceOf(error: unknown): string | null {
  const sentence = (error as { error?: unknown } | null | undefined)?.error;
  return typeof sentence === "string" ? sentence : null;
}

/** The address in `Link` with this `rel` (RFC 8288), or null. */
export function linkOf(response: Response, rel: string): URL | null {
  for (const link of (response.headers.get("Link") ?? "").split(/,\s*(?=<)/)) {
    const parts = /^<([^>]*)>\s*;\s*rel="?([^";]+)"?/.exec(link);
    if (parts?.[1] !== undefined && parts[2] === rel) return new URL(parts[1], API_URL);
  }
  return null;
}

/** The cursor of the next page of a list, or null on the last one. */
export function nextCursor(response: Response): string | null {
  return linkOf(response, "next")?.searchParams.get("cursor") ?? null;
}

/** The task's version, which the answer's ETag is. */
export function versionOf(response: Response): number {
  return Number(/"(\d+)"/.exec(response.headers.get("ETag") ?? "")?.[1] ?? 0);
}
