// The frame of every page: where one can go, whether all is saved, and whether the page is live.
import { Suspense, useEffect } from "react";
import { NavLink, Outlet, useLocation } from "react-router";
import { useSaving } from "./api/saving";
import { startLive, useLive } from "./live/live";
import { changes, queryClient } from "./live/memory";
import { ownerOf, session, useSession } from "./session/session";
import { SignIn } from "./session/sign-in";
import { ChartIcon, CheckIcon, ClockIcon, HistoryIcon } from "./ui/icons";

const PAGES = [
  { to: "/", name: "Tasks", icon: CheckIcon },
  { to: "/history", name: "History", icon: HistoryIcon },
  { to: "/time-machine", name: "Time machine", icon: ClockIcon },
  { to: "/statistics", name: "Statistics", icon: ChartIcon },
];

export function App() {
  const { token, asked } = useSession();
  const { waiting } = useSaving();
  const path = useLocation().pathname.replace(/(?<=.)\/$/, "");

  useEffect(() => {
    document.title = `${PAGES.find(({ to }) => to === path)?.name ?? "Not found"} – Taskapi`;
  }, [path]);

  useEffect(() => {
    if (asked) return;
    return startLive({
      onChanges: (all) => changes.learn(all),
      onReset: () => {
        changes.forget();
        void queryClient.invalidateQueries();
      },
    });
  }, [token, asked]);

  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="top">
        <NavLink to="/" className="brand" aria-label="Taskapi, to the tasks">
          <img src="/favicon.svg" alt="" width="28" height="28" />
          <span>Taskapi</span>
        </NavLink>
        <nav aria-label="Pages">
          {PAGES.map(({ to, name, icon: Icon }) => (
            <NavLink key={to} to={to} end>
              <Icon />
              <span>{name}</span>
            </NavLink>
          ))}
        </nav>
        <div className="states">
          <SavingState />
          {!asked && waiting === 0 && <LiveDot />}
          {token !== null && !asked && <Owner token={token} />}
        </div>
      </header>
      <main id="main" tabIndex={-1} key={token}>
        {asked ? (
          <SignIn wrong={token !== null} />
        ) : (
          <Suspense fallback={<p className="hint loading">Loading the page…</p>}>
            <Outlet />
          </Suspense>
        )}
      </main>
    </>
  );
}

function SavingState() {
  const { pending, waiting, saved } = useSaving();
  const text =
    waiting > 0
      ? `${waiting === 1 ? "A change waits" : `${waiting} changes wait`} for the service`
      : pending > 0
        ? "Saving…"
        : saved
          ? "Saved"
          : "";
  return (
    <span role="status" className={waiting > 0 ? "saving waiting" : "saving"}>
      {text}
    </span>
  );
}

function LiveDot() {
  const live = useLive();
  const text = { connecting: "Connecting…", live: "Live", lost: "No connection, trying again…" }[live];
  return (
    <span role="status" className={`live-state ${live}`}>
      {text}
    </span>
  );
}

function Owner({ token }: { token: string }) {
  const owner = ownerOf(token);
  return (
    <span className="owner">
      <span className="owner-name">{owner === null ? "API token" : `${owner}’s list`}</span>
      <button type="button" className="quiet" onClick={() => session.signOut()}>
        Sign out
      </button>
    </span>
  );
}
