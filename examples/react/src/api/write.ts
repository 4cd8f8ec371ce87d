// Writes until there is an answer: the same request with the same Idempotency-Key, so that it happens once.
import { ApiError, ask, NoAnswer, SignedOut, type Answered } from "./client";
import { identityOf, session } from "../session/session";
import { saving } from "./saving";

/** Seconds, where the service asks for none. */
const LONGEST_WAIT = 8;

interface Attempt {
  headers: { "Idempotency-Key": string };
}

/**
 * Sends a write, again and again until the API answers. `send` makes one attempt and passes the headers on to `api`.
 * Where the token has expired, it waits until the same person has signed in again.
 * Throws ApiError where the API refuses, and SignedOut where the person signs out before there is an answer.
 */
export async function write<Answer>(
  send: (attempt: Attempt) => Parameters<typeof ask<Answer>>[0],
): Promise<Answered<Answer>> {
  const headers = { "Idempotency-Key": newKey() };
  const who = identityOf(session.token());
  const done = saving.begin();
  try {
    for (let failures = 0; ; failures++) {
      try {
        const answered = await ask(send({ headers }));
        done("saved");
        return answered;
      } catch (error) {
        if (error instanceof NoAnswer) {
          await saving.wait(Math.max(error.retryAfter, Math.min(0.25 * 2 ** failures, LONGEST_WAIT)));
        } else if (error instanceof ApiError && error.status === 401 && who !== null) {
          await session.settled();
        } else {
          throw error;
        }
        if (identityOf(session.token()) !== who) throw new SignedOut();
      }
    }
  } finally {
    done("refused");
  }
}

// crypto.randomUUID() is missing on a page that came over plain http from another machine.
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
