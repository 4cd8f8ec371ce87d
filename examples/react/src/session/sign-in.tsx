// Asks for a token, where the API wants one.
import { useState } from "react";
import { session } from "./session";

/** `wrong`: the API has refused the token that there was. */
export function SignIn({ wrong }: { wrong: boolean }) {
  const [token, setToken] = useState("");
  return (
    <form
      className="card sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        // People paste what stands in the documentation, too.
        const given = token.trim().replace(/^Bearer\s+/i, "");
        if (given !== "") session.signIn(given);
      }}
    >
      <h1>Sign in</h1>
      <p>This service asks for a token: an API token, or the JWT that your identity provider gave you.</p>
      <label htmlFor="token">Token</label>
      <input
        id="token"
        type="password"
        autoComplete="off"
        spellCheck={false}
        autoFocus
        required
        value={token}
        onChange={(event) => setToken(event.target.value)}
        aria-invalid={wrong}
        aria-describedby="token-help"
      />
      <p id="token-help" className={wrong ? "field-error" : "hint"} role={wrong ? "alert" : undefined}>
        {wrong
          ? "The service did not accept the token. It may be wrong, or have expired."
          : "It stays in this browser until you close its tabs or sign out."}
      </p>
      <button type="submit" className="primary">
        Sign in
      </button>
    </form>
  );
}
