// The icons: lines of one weight, in the colour of the text beside them. They say nothing that a text does not.
import type { ReactNode } from "react";

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg
      className="icon"
      viewBox="0 0 24 24"
      width="20"
      height="20"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const CheckIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="9" />
    <path d="m8 12.5 2.8 2.8L16.2 9" />
  </Icon>
);
export const HistoryIcon = () => (
  <Icon>
    <path d="M9 5h11M9 12h11M9 19h11" />
    <circle cx="4" cy="5" r="1" />
    <circle cx="4" cy="12" r="1" />
    <circle cx="4" cy="19" r="1" />
  </Icon>
);
export const ClockIcon = () => (
  <Icon>
    <path d="M3.5 9A9 9 0 1 1 3 12" />
    <path d="M3 4v5h5M12 7v5l3.5 2" />
  </Icon>
);
export const ChartIcon = () => (
  <Icon>
    <path d="M4 20V4M4 20h16M9 16v-5M13.5 16V8M18 16v-3" />
  </Icon>
);
export const PencilIcon = () => (
  <Icon>
    <path d="M4 20h4L19 9l-4-4L4 16zM13.5 6.5l4 4" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon>
    <path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5" />
  </Icon>
);
export const SearchIcon = () => (
  <Icon>
    <circle cx="11" cy="11" r="6.5" />
    <path d="m16 16 4.5 4.5" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M12 5v14M5 12h14" />
  </Icon>
);
export const UndoIcon = () => (
  <Icon>
    <path d="M4 9h10.5a5.5 5.5 0 0 1 0 11H9M4 9l4-4M4 9l4 4" />
  </Icon>
);
export const PlayIcon = () => (
  <Icon>
    <path d="M7 4.5v15l12-7.5z" />
  </Icon>
);
export const PauseIcon = () => (
  <Icon>
    <path d="M8 5v14M16 5v14" />
  </Icon>
);
export const LeftIcon = () => (
  <Icon>
    <path d="m15 5-7 7 7 7" />
  </Icon>
);
export const RightIcon = () => (
  <Icon>
    <path d="m9 5 7 7-7 7" />
  </Icon>
);
