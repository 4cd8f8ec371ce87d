// What is shown until the first answer: what the page does meanwhile, or why there is no answer yet.
import type { ReactNode } from "react";

export function Waiting({ reason, children }: { reason: Error | null; children: ReactNode }) {
  return <p className="hint">{reason ? `${reason.message} Trying again…` : children}</p>;
}
