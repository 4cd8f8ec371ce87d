// What one travels with: the slider, the film's buttons, and jumps.
import type { HistoryEntry } from "../api/client";
import { LeftIcon, PauseIcon, PlayIcon, RightIcon } from "../ui/icons";
import { formatClock, formatDay, formatTime } from "../ui/times";
import { momentAt, POSITIONS, positionOf, textOfChange, type Life, type Moment } from "./moments";

const DAY = 86_400_000;
const SPEEDS = [1, 2, 4];

interface Props {
  at: Moment;
  /** The change that made the list what it is at this moment, where it is known. */
  entry: HistoryEntry | null;
  life: Life;
  isPlaying: boolean;
  speed: number;
  onGo: (to: Moment) => void;
  onPlay: () => void;
  onSpeed: (speed: number) => void;
  onJump: (to: "previous" | "next") => void;
}

export function Controls({ at, entry, life, isPlaying, speed, onGo, onPlay, onSpeed, onJump }: Props) {
  return (
    <>
      <Heading time={new Date(at ?? life.now)} isNow={at === null} />
      <Slider at={at} life={life} onGo={onGo} />
      <div className="machine-row">
        <div className="machine-film">
          <button type="button" className="quiet round" disabled={at === life.first} onClick={() => onJump("previous")}>
            <LeftIcon />
            <span className="visually-hidden">Previous change</span>
          </button>
          <button type="button" className="primary machine-play" onClick={onPlay}>
            {isPlaying ? <PauseIcon /> : <PlayIcon />}
            {isPlaying ? "Pause" : "Play"}
          </button>
          <button type="button" className="quiet round" disabled={at === null} onClick={() => onJump("next")}>
            <RightIcon />
            <span className="visually-hidden">Next change</span>
          </button>
          <Speeds speed={speed} onSpeed={onSpeed} />
        </div>
        <div className="machine-jumps" role="group" aria-label="Go to">
          <button type="button" className="quiet" onClick={() => onGo(life.first)}>
            Start
          </button>
          <button type="button" className="quiet" onClick={() => onGo(Date.now() - 7 * DAY)}>
            A week ago
          </button>
          <button type="button" className="quiet" onClick={() => onGo(Date.now() - DAY)}>
            Yesterday
          </button>
          <button type="button" className="quiet" onClick={() => onGo(null)}>
            Now
          </button>
        </div>
      </div>
      {entry && <p className="hint long machine-entry">{textOfChange(entry)}</p>}
    </>
  );
}

function Heading({ time, isNow }: { time: Date; isNow: boolean }) {
  return (
    <div>
      <p className="hint">{isNow ? "The list as it is now" : "The list as it was on"}</p>
      <p className="machine-day">
        {formatDay(time)} <span className="machine-clock">{formatClock(time)}</span>
      </p>
    </div>
  );
}

function Slider({ at, life, onGo }: Pick<Props, "at" | "life" | "onGo">) {
  const text = formatTime(new Date(at ?? life.now));
  return (
    <div className="machine-slider">
      <input
        type="range"
        aria-label="Time"
        min={0}
        max={POSITIONS}
        value={positionOf(at, life)}
        aria-valuetext={at === null ? `Now, ${text}` : text}
        onChange={(event) => onGo(momentAt(Number(event.target.value), life))}
      />
      <p className="hint machine-ends" aria-hidden="true">
        <span>{formatTime(new Date(life.first))}</span>
        <span>Now</span>
      </p>
    </div>
  );
}

function Speeds({ speed, onSpeed }: Pick<Props, "speed" | "onSpeed">) {
  return (
    <fieldset className="speeds">
      <legend className="visually-hidden">Speed</legend>
      {SPEEDS.map((each) => (
        <label key={each}>
          <input type="radio" name="speed" checked={each === speed} onChange={() => onSpeed(each)} />
          {each}×
        </label>
      ))}
    </fieldset>
  );
}
