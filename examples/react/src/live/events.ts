// Reads server-sent events from the body of a `fetch` (EventSource cannot send a token).
// The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.

export interface Event {
  data: string;
  /** Empty where the event has none. */
  id: string;
}

/** Yields each event, and null for each comment: a sign of life. Ends with the body. */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Event | null> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  let data: string[] = [];
  let id = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (data.length > 0) yield { data: data.join("\n"), id };
          data = [];
          id = "";
        } else if (line.startsWith(":")) {
          yield null;
        } else {
          const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
          if (field === "data") data.push(text ?? "");
          if (field === "id") id = text ?? "";
        }
      }
    }
  } finally {
    // Also when the reader of the events stops: the connection is closed.
    await reader.cancel().catch(() => undefined);
  }
}
