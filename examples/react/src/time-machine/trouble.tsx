// What the API refused, and what can be done about it.
import { ApiError } from "../api/client";

export function Trouble({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const isRefused = error instanceof ApiError && error.status === 422;
  return (
    <div className="notice trouble" role="alert">
      <div>
        <p className="long">{error.message}</p>
        {isRefused && <p>Choose another moment, or go to now.</p>}
      </div>
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
