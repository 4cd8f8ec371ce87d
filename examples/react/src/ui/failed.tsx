// What is shown where a page has broken.
import { Component, type ReactNode } from "react";

export class Failed extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    const error: unknown = this.state.error;
    if (error === null) return this.props.children;
    return (
      <main>
        <div className="card empty" role="alert">
          <h1>This page has broken</h1>
          <p>{error instanceof Error ? error.message : "Something unexpected happened."}</p>
          <p>Nothing that was saved is lost.</p>
          <button type="button" className="primary" onClick={() => window.location.reload()}>
            Load the page again
          </button>
        </div>
      </main>
    );
  }
}
