// Plays the life of the list like a film: moves the moment on, frame by frame, until it is now.
import { useEffect, useState } from "react";
import type { Life, Moment } from "./moments";

/** From any moment to now it takes so many frames, of so many milliseconds each: 33 seconds. */
const FRAMES = 110;
const FRAME = 300;
/** For so many frames, what has changed is highlighted. */
const GLOW = 4;

interface Projector {
  at: Moment;
  /** When we came there, by performance.now(). */
  arrived: number;
  life: Life;
  /** Whether the frame is there to be seen. The next one is asked for only then. */
  isShown: boolean;
  hasFailed: boolean;
  /** Goes to a moment. What has changed since is highlighted. */
  onFrame: (at: Moment, since: number) => void;
}

export function useFilm({ at, arrived, life, isShown, hasFailed, onFrame }: Projector) {
  const [speed, setSpeed] = useState(1);
  /** How much time a frame takes at speed 1, and where it ends; null while the film stands still. */
  const [film, setFilm] = useState<{ pace: number; end: number } | null>(null);
  // It ends at now, however one comes there.
  if (film !== null && (at === null || hasFailed)) setFilm(null);

  useEffect(() => {
    if (film === null || at === null || !isShown) return;
    const step = film.pace * speed;
    const next = at + step;
    const timer = setTimeout(
      () => onFrame(next >= film.end ? null : next, next - GLOW * step),
      Math.max(0, FRAME - (performance.now() - arrived)),
    );
    return () => clearTimeout(timer);
  });

  return {
    isPlaying: film !== null,
    speed,
    setSpeed,
    /** From the moment that is chosen; at the end, from the beginning. */
    play(now: number) {
      const from = at ?? life.first;
      // The end is the now of the beginning: a young list would grow faster than its film.
      setFilm({ pace: (now - from) / FRAMES, end: now });
      if (at === null) onFrame(from, from);
    },
    pause: () => setFilm(null),
  };
}
