// Who is signed in: a token for this browser session, which the tabs of the browser share.
import { Store, useStore } from "../ui/store";

const STORED_AS = "taskapi-token";

export interface Session {
  token: string | null;
  /** The API has answered 401: it wants a token, or another one. */
  asked: boolean;
}

// A browser that keeps no data for this page throws: then the token lasts until the page is left.
const stored = {
  get(): string | null {
    try {
      return sessionStorage.getItem(STORED_AS);
    } catch {
      return null;
    }
  },
  set(token: string | null): void {
    try {
      if (token === null) sessionStorage.removeItem(STORED_AS);
      else sessionStorage.setItem(STORED_AS, token);
    } catch {
      // Nothing is kept.
    }
  },
};

const store = new Store<Session>({ token: stored.get(), asked: false });
const forgetters = new Set<(isSamePerson: boolean) => void>();

// A new tab has a session storage of its own: it asks the others.
const tabs = new BroadcastChannel("taskapi-session");
type Message = { kind: "who" } | { kind: "token"; token: string } | { kind: "sign-out"; token: string | null };

function change(next: Session): void {
  const { token, asked } = store.get();
  // Also after a 401: what changed until one signed in again, nobody told us.
  const isOther = next.token !== token || (asked && !next.asked);
  stored.set(next.token);
  store.set(next);
  const isSamePerson = identityOf(next.token) === identityOf(token);
  if (isOther) for (const forget of forgetters) forget(isSamePerson);
}

tabs.onmessage = ({ data }: MessageEvent<Message>) => {
  const { token, asked } = store.get();
  if (data.kind === "who" && token !== null && !asked) tabs.postMessage({ kind: "token", token } satisfies Message);
  // Not our own again: it was refused.
  if (data.kind === "token" && (token === null || asked) && data.token !== token) {
    change({ token: data.token, asked: false });
  }
  // Another tab may be another person's.
  if (data.kind === "sign-out" && token !== null && data.token === token) change({ token: null, asked: true });
};
if (store.get().token === null) tabs.postMessage({ kind: "who" } satisfies Message);

export const session = {
  token: (): string | null => store.get().token,

  /** `forget` is called when somebody signs in or out: what one person has read is not for the next. */
  onOther(forget: (isSamePerson: boolean) => void): void {
    forgetters.add(forget);
  },

  /** The API refused this `Authorization`. If it is still ours, the person has to sign in. */
  refused(authorization: string | null): void {
    const { token, asked } = store.get();
    const ours = token === null ? null : `Bearer ${token}`;
    if (authorization === ours && !asked) {
      change({ token, asked: true });
      tabs.postMessage({ kind: "who" } satisfies Message);
    }
  },

  /** Resolves at once while somebody is signed in or nobody has to be; else when the person has signed in, or out. */
  async settled(): Promise<void> {
    if (!store.get().asked) return;
    await new Promise<void>((resolve) => {
      const stop = store.subscribe(() => {
        stop();
        resolve();
      });
    });
  },

  signIn(token: string): void {
    change({ token, asked: false });
    tabs.postMessage({ kind: "token", token } satisfies Message);
  },

  signOut(): void {
    tabs.postMessage({ kind: "sign-out", token: store.get().token } satisfies Message);
    change({ token: null, asked: true });
  },
};

export const useSession = (): Session => useStore(store);

/** Whose list a JWT opens: its name, email address or subject; null for a token that is no JWT. */
export function ownerOf(token: string | null): string | null {
  const claims = claimsOf(token);
  return ["name", "email", "sub"].map((name) => claims?.[name]).find(isText) ?? null;
}

/** What two tokens of one person have in common, such as a JWT and the one that renews it. */
export function identityOf(token: string | null): string | null {
  const subject = claimsOf(token)?.["sub"];
  return isText(subject) ? subject : token;
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** The claims of a JWT; null where it is none. Nobody has verified them: that is for the API. */
function claimsOf(token: string | null): Record<string, unknown> | null {
  const [, payload, ...rest] = token?.split(".") ?? [];
  if (payload === undefined || rest.length !== 1) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  } catch {
    return null;
  }
}
