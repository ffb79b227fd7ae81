/**
 * The result beside the picture: label, probabilities, and the sub-tiles by
 * weight, with the chosen one at full resolution.
 *
 * @module
 */
import { type Api, wordsOf } from "./api.ts";
import type { Runs } from "./classify.ts";
import { button, byId, bytesText, element, share, svg } from "./dom.ts";
import type { Classification, Region, SubTile } from "./types.ts";

/** Who is told of what is chosen in the list. */
export interface ResultListeners {
  /** A sub-tile, by its index. */
  onChoose(index: number): void;
  /** The object that decided. */
  onObject(object: Region): void;
}

/** The result of an image. */
export class Result {
  readonly #api: Api;
  readonly #listeners: ResultListeners;
  readonly #answer = byId("answer");
  readonly #list = byId("sub-tiles");
  readonly #detail = byId("detail");
  #subTiles: readonly SubTile[] = [];
  #query = "";
  #loading = new AbortController();
  #addresses: string[] = [];

  constructor(api: Api, listeners: ResultListeners) {
    this.#api = api;
    this.#listeners = listeners;
  }

  clear(): void {
    this.#loading.abort();
    for (const address of this.#addresses) URL.revokeObjectURL(address);
    this.#addresses = [];
    this.#subTiles = [];
    this.#answer.replaceChildren();
    this.#list.replaceChildren();
    this.#detail.hidden = true;
  }

  /** Shows label and probabilities of the seeds so far. */
  answer({ first, probabilities }: Runs): void {
    const means = Object.entries(probabilities)
      .map(([name, values]) => ({ name, values, mean: meanOf(values) }))
      .toSorted((a, b) => b.mean - a.mean);
    const seeds = means[0]!.values.length;
    const spread = seeds > 1 ? `, lowest to highest of ${seeds} seeds` : "";
    this.#answer.replaceChildren(
      element("p", { class: "label" }, means[0]!.name),
      element(
        "table",
        { class: "bars" },
        element("caption", {}, `Probability${spread}`),
        element(
          "tbody",
          {},
          ...means.map(({ name, values, mean }) => row(name, values, mean)),
        ),
      ),
      ...this.#object(first),
      element("p", { class: "muted" }, factsOf(first)),
      ...first.warnings.map((warning) =>
        element("p", { class: "muted" }, warning)
      ),
    );
  }

  /** The object that decided, to fly to. */
  #object({ object }: Classification): Node[] {
    if (!object) return [];
    const { x, y, width, height } = object;
    const size = `${Math.round(width)} × ${Math.round(height)} px`;
    return [element(
      "p",
      {},
      button(
        `Object that decided: ${size} at ${Math.round(x)}, ${Math.round(y)}`,
        () => this.#listeners.onObject(object),
        { class: "object" },
      ),
    )];
  }

  /**
   * Lists the sub-tiles.
   *
   * @param subTiles the heaviest first.
   * @param query names the image in requests for pictures.
   */
  list(subTiles: readonly SubTile[], query: string): void {
    this.#subTiles = subTiles;
    this.#query = query;
    const most = subTiles[0]?.weight ?? 1;
    this.#list.replaceChildren(...subTiles.map((subTile, i) => {
      const { x, y, weight } = subTile;
      const picture = button("", () => this.#listeners.onChoose(i), {
        "aria-label": `Sub-tile ${i + 1}, weight ${
          share(weight)
        }, at ${x}, ${y}`,
        "aria-pressed": "false",
      });
      picture.append(
        element("img", { alt: "" }),
        element("meter", {
          value: weight / most,
          "aria-hidden": "true",
        }),
      );
      return element("li", {}, picture);
    }));
    this.#loading = new AbortController();
    this.#loadAll(this.#loading.signal);
  }

  /** Marks a sub-tile as chosen, and shows it at full resolution. */
  choose(index: number): void {
    const buttons = this.#list.querySelectorAll("button");
    buttons.forEach((button, i) =>
      button.setAttribute("aria-pressed", String(i === index))
    );
    const chosen = buttons[index], subTile = this.#subTiles[index];
    this.#detail.hidden = !chosen;
    if (!chosen || !subTile) return;
    chosen.scrollIntoView({ block: "nearest" });
    const { x, y, width, height, weight } = subTile;
    const image = this.#detail.querySelector("img")!;
    image.src = chosen.querySelector("img")!.src;
    image.alt = `Sub-tile ${index + 1} at full resolution`;
    this.#detail.querySelector("figcaption")!.textContent = `${
      index + 1
    } of ${this.#subTiles.length}: weight ${
      share(weight)
    }, ${width} × ${height} px at ${x}, ${y}`;
  }

  /** Loads the pictures one after the other: tiles of the picture go first. */
  async #loadAll(signal: AbortSignal): Promise<void> {
    const images = this.#list.querySelectorAll("img");
    for (const [i, { x, y, width, height }] of this.#subTiles.entries()) {
      const region = new URLSearchParams(
        Object.entries({ x, y, width, height })
          .map(([key, value]) => [key, String(value)]),
      );
      try {
        const address = await this.#api.picture(
          `v1/image/region.png?${this.#query}&${region}`,
          signal,
        );
        this.#addresses.push(address);
        images[i]!.src = address;
        const isChosen = images[i]!.closest("[aria-pressed=true]");
        if (isChosen) this.choose(i);
      } catch (error) {
        if (signal.aborted) return;
        images[i]!.alt = wordsOf(error);
      }
    }
  }
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A class: its probability as a bar, and the interval over the seeds. */
function row(
  name: string,
  values: readonly number[],
  mean: number,
): HTMLTableRowElement {
  const low = Math.min(...values), high = Math.max(...values);
  const interval = values.length > 1
    ? [element("small", {}, `${share(low)} to ${share(high)}`)]
    : [];
  const rect = (kind: string, from: number, to: number, inset = 0) =>
    svg("rect", {
      class: kind,
      x: 100 * from,
      width: 100 * (to - from),
      y: inset,
      height: 6 - 2 * inset,
    });
  const bar = svg(
    "svg",
    {
      viewBox: "0 0 100 6",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    },
    rect("ground", 0, 1),
    rect("bar", 0, mean),
    ...(values.length > 1 ? [rect("interval", low, high, 2.25)] : []),
  );
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    element("td", { class: "bar-cell" }, bar),
    element("td", {}, share(mean), ...interval),
  );
}

function factsOf(
  { model, image, subTiles, timings, bytesRead }: Classification,
): string {
  const { totalMs = 0 } = timings;
  const mpp = image.mpp === undefined ? "" : `, ${image.mpp} µm per px`;
  return [
    `${model.name} ${model.version.slice(0, 8)}`,
    `${image.width} × ${image.height} px${mpp}`,
    `${subTiles.length} sub-tiles`,
    `${(totalMs / 1000).toFixed(2)} s, ${bytesText(bytesRead)} read`,
  ].join(" · ");
}
