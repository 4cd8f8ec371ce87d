// What is shown for an address that is none of ours.
import { Link } from "react-router";

export function NotFound() {
  return (
    <section className="card empty">
      <h1>There is no such page</h1>
      <p>
        <Link to="/">Go to the tasks</Link>
      </p>
    </section>
  );
}
