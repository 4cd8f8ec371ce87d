// Server-sent events, cut into chunks anywhere.
import { expect, test } from "vitest";
import { eventsOf, type Event } from "./events";

/** The events of a body that comes in these pieces. */
async function read(...pieces: Uint8Array[]): Promise<(Event | null)[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  const events: (Event | null)[] = [];
  for await (const event of eventsOf(body)) events.push(event);
  return events;
}

const bytes = (text: string) => new TextEncoder().encode(text);

const STREAM = 'retry: 2000\n\n: hello\n\ndata: {"title": "Käse 🧀"}\n\ndata: 2\nid: a-1\n\n';
const EVENTS = [null, { data: '{"title": "Käse 🧀"}', id: "" }, { data: "2", id: "a-1" }];

test.each(["\n", "\r\n", "\r"])("lines may end with %j, and the body may be cut at any byte", async (end) => {
  // A CR at the very end could be the first half of an end.
  const whole = bytes(STREAM.replaceAll("\n", end) + (end === "\r" ? ":" : ""));
  expect(await read(whole)).toEqual(EVENTS);
  for (let at = 1; at < whole.length; at++) {
    expect(await read(whole.slice(0, at), whole.slice(at)), `cut at ${at}`).toEqual(EVENTS);
  }
  expect(await read(...Array.from(whole, (byte) => Uint8Array.of(byte)))).toEqual(EVENTS);
});

test("several lines of data are one text; one space after the colon is no part of it", async () => {
  expect(await read(bytes("data: a\ndata:  b\ndata:c\ndata\n\n"))).toEqual([{ data: "a\n b\nc\n", id: "" }]);
});

test("an id belongs to its own event alone", async () => {
  expect(await read(bytes("id: 1\ndata: a\n\ndata: b\n\n"))).toEqual([
    { data: "a", id: "1" },
    { data: "b", id: "" },
  ]);
});

test("an event without data is none, and neither is one that the end of the body cuts off", async () => {
  expect(await read(bytes("event: x\nid: 1\n\ndata: a\n\ndata: b\nid: 2\n"))).toEqual([{ data: "a", id: "" }]);
});

test("who stops reading closes the connection", async () => {
  let isClosed = false;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(bytes(": here\n\n")),
    cancel: () => void (isClosed = true),
  });
  for await (const event of eventsOf(body)) {
    expect(event).toBeNull();
    break;
  }
  expect(isClosed).toBe(true);
});
