// What the API refused, what can be done about it, and a button to ask again.
import { ApiError } from "../api/client";

interface Props {
  error: Error;
  /** What to do where the API does not accept what was chosen. */
  advice?: string;
  onRetry: () => void;
}

export function Trouble({ error, advice, onRetry }: Props) {
  const isRefused = error instanceof ApiError && error.status === 422;
  return (
    <div className="notice trouble" role="alert">
      <div>
        <p className="long">{error.message}</p>
        {isRefused && advice && <p>{advice}</p>}
      </div>
      <button type="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
