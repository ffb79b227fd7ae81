/**
 * What the page shows, in the fragment of its address: a link shows the same, and
 * the server's log does not.
 *
 * @module
 */

/** Overlays of the picture. */
export const OVERLAYS = ["none", "stage1", "stage2", "evidence"] as const;

export type Overlay = (typeof OVERLAYS)[number];

/** Everything that is in the address; "" and the defaults are left out of it. */
export interface State {
  view: "look" | "draw" | "jobs";
  /** Of the three names of an image at most one is set. */
  path: string;
  uri: string;
  upload: string;
  model: string;
  /** Sub-tiles to read; 0: as the model's configuration says. */
  samples: number;
  seed: number;
  /** Seeds to classify with, from `seed` on. */
  runs: number;
  overlay: Overlay;
  scale: "percentile" | "raw";
  opacity: number;
  boxes: boolean;
  /** Centre of the picture, level-0 px, and its zoom: screen px a level-0 px. */
  x: number;
  y: number;
  zoom: number;
  job: string;
  /** The table whose images are drawn on, and the image, as it names it. */
  table: string;
  image: string;
}

const DEFAULTS: State = {
  view: "look",
  path: "",
  uri: "",
  upload: "",
  model: "",
  samples: 0,
  seed: 0,
  runs: 1,
  overlay: "none",
  scale: "percentile",
  opacity: 0.8,
  boxes: true,
  x: 0,
  y: 0,
  zoom: 0,
  job: "",
  table: "",
  image: "",
};

/** The state, and who is told of its changes. */
export class Address {
  #state = read();
  readonly #listeners: ((now: State, before: State) => void)[] = [];

  constructor() {
    addEventListener("hashchange", () => this.#become(read()));
  }

  get now(): State {
    return this.#state;
  }

  /** Calls `listener` after each change. */
  onChange(listener: (now: State, before: State) => void): void {
    this.#listeners.push(listener);
  }

  /** Changes the address in place: panning leaves no history. */
  set(change: Partial<State>): void {
    const next = { ...this.#state, ...change };
    history.replaceState(null, "", `#${written(next)}`);
    this.#become(next);
  }

  /** Goes to another address, from which "back" returns. */
  go(change: Partial<State>): void {
    const next = { ...this.#state, ...change };
    history.pushState(null, "", `#${written(next)}`);
    this.#become(next);
  }

  #become(next: State): void {
    const before = this.#state;
    this.#state = next;
    for (const listener of this.#listeners) listener(next, before);
  }
}

/** The image of a state as its requests name it; undefined if there is none. */
export function imageOf(
  { path, uri, upload }: State,
): Record<string, string> | undefined {
  if (path) return { path };
  if (uri) return { uri };
  return upload ? { upload } : undefined;
}

function read(): State {
  const given = new URLSearchParams(location.hash.slice(1));
  const entries = Object.entries(DEFAULTS).map(([key, value]) => {
    const text = given.get(key);
    return [key, text === null ? value : parsed(text, value)];
  });
  const state = Object.fromEntries(entries) as State;
  return OVERLAYS.includes(state.overlay)
    ? state
    : { ...state, overlay: "none" };
}

function parsed(text: string, like: string | number | boolean) {
  if (typeof like === "string") return text;
  if (typeof like === "boolean") return text === "true";
  const number = Number(text);
  return Number.isFinite(number) ? number : like;
}

function written(state: State): string {
  const entries = Object.entries(state)
    .filter(([key, value]) => value !== DEFAULTS[key as keyof State])
    .map(([key, value]) => [key, String(value)]);
  return new URLSearchParams(entries as [string, string][]).toString();
}
