/**
 * Drawing on the images of a table: boxes and points, by pointer and by keyboard,
 * saved for trainings, which can be started here.
 *
 * @module
 */
import { type Api, Refusal, wordsOf } from "./api.ts";
import { button, byId, element, say } from "./dom.ts";
import { Drawn } from "./drawn.ts";
import { Folders } from "./folders.ts";
import { Picture, type Tool } from "./picture.ts";
import type { Address } from "./state.ts";
import type {
  AnnotatedObject,
  Region,
  SeenImage,
  TableRow,
  TableRows,
} from "./types.ts";

// Of the part in view: a box that is added, and a step of the keyboard.
const NEW_SIDE = 1 / 8, STEP = 1 / 100;

const CHANGED = 412;

/** The steps of the arrow keys. */
const ARROWS: Record<string, readonly [x: number, y: number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The page on which objects are drawn. */
export class DrawPage {
  readonly #api: Api;
  readonly #address: Address;
  readonly #folders: Folders;
  readonly #error = byId("draw-error");
  #picture: Picture | undefined;
  #rows: readonly TableRow[] = [];
  #listed = ""; // the table whose rows those are
  #opened = ""; // the image in view
  #isMissing = false; // it could not be loaded
  #image: SeenImage | undefined;
  #drawn = new Drawn([]);
  #etag = "";
  #chosen = -1;
  #loading = new AbortController();
  #saving = Promise.resolve(true);

  constructor(api: Api, address: Address) {
    this.#api = api;
    this.#address = address;
    this.#folders = new Folders(api, {
      path: byId("table-path"),
      entries: byId("table-entries"),
      isCurrent: () => false,
      onChoose: ({ path, kind }) => {
        if (kind === "table") address.go({ table: path, image: "" });
        else say(this.#error, "Choose a table (CSV), which has the labels");
      },
    });
    this.#listen();
  }

  /** Shows the table and the image of the address. */
  async show(): Promise<void> {
    this.#picture ??= this.#makePicture();
    const { table } = this.#address.now;
    byId("table-choice").hidden = table !== "";
    byId("table").hidden = table === "";
    byId("train").hidden = table === "";
    if (table === "") return await this.#folders.list();
    say(byId("table-name"), table);
    try {
      if (table !== this.#listed) {
        if (!await this.#save()) return;
        await this.#list(table);
      }
      await this.#open();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Says why nothing is shown; a click tries again. */
  #fail(error: unknown): void {
    say(this.#error, `${wordsOf(error)} `);
    this.#error.append(button("Try again", () => this.show()));
  }

  /** True if leaving would lose what was drawn. */
  get isChanged(): boolean {
    return this.#drawn.isChanged;
  }

  /** Next or previous image, `n` or `p`, and the other keys of the page. */
  key(event: KeyboardEvent): void {
    const { key, ctrlKey, metaKey } = event;
    if (ctrlKey || metaKey) {
      if (key === "z") this.#undo();
      if (key === "s") {
        event.preventDefault();
        this.#save();
      }
      return;
    }
    if (key === "n") this.#go(1);
    if (key === "p") this.#go(-1);
    if (key === "h") this.#picture?.home();
    if (key === "a") this.#addInMiddle();
  }

  #makePicture(): Picture {
    const picture = new Picture(byId("drawing"), {
      onView() {},
      onPick() {},
      onProblem: (message) =>
        say(this.#error, message || "A part of the image cannot be shown"),
      onDraw: (region) => this.#add(region),
    });
    picture.use("box");
    return picture;
  }

  #listen(): void {
    for (
      const choice of document.querySelectorAll<HTMLInputElement>(
        "input[name=tool]",
      )
    ) {
      choice.addEventListener(
        "change",
        () => this.#picture?.use(choice.value as Tool),
      );
    }
    byId("add").addEventListener("click", () => this.#addInMiddle());
    byId("undo").addEventListener("click", () => this.#undo());
    byId("save").addEventListener("click", () => this.#save());
    byId("other-table").addEventListener(
      "click",
      () => this.#address.go({ table: "", image: "" }),
    );
    byId("download").addEventListener("click", () => this.#download());
    byId("train").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#train();
    });
  }

  async #list(table: string): Promise<void> {
    const query = new URLSearchParams({ table });
    say(this.#error, "");
    byId("table-rows").replaceChildren();
    const { rows, isCut } = await this.#api.get<TableRows>(
      `v1/annotations?${query}`,
    );
    this.#listed = table;
    this.#rows = rows;
    this.#opened = "";
    byId("table-cut").hidden = !isCut;
    if (!byId<HTMLInputElement>("train-name").value) {
      byId<HTMLInputElement>("train-name").value = nameOf(table);
    }
  }

  /** Opens the image of the address, or the first. */
  async #open(): Promise<void> {
    const { image } = this.#address.now;
    const row = this.#rows.find((row) => row.image === image) ?? this.#rows[0];
    this.#showRows(row?.image);
    if (!row || (row.image === this.#opened && !this.#isMissing)) return;
    if (!await this.#save()) return;
    this.#loading.abort();
    const { signal } = this.#loading = new AbortController();
    say(this.#error, "");
    try {
      await this.#load(row, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#isMissing = true;
      this.#fail(error);
    }
  }

  async #load(row: TableRow, signal: AbortSignal): Promise<void> {
    this.#opened = row.image;
    this.#isMissing = false;
    this.#image = undefined;
    this.#become(new Drawn([]), "");
    this.#picture!.close();
    const { path, uri } = row;
    const name = new URLSearchParams(
      path ? { path } : { uri: uri!, table: this.#listed },
    );
    const [image, answer] = await Promise.all([
      this.#api.get<SeenImage>(`v1/image?${name}`, signal),
      this.#api.send(this.#objectsPath(), { signal }),
    ]);
    const { objects } = await answer.json();
    signal.throwIfAborted();
    this.#image = image;
    this.#picture!.open(image, {
      query: name.toString(),
      headers: this.#api.headers,
      view: undefined,
    });
    this.#become(new Drawn(objects), answer.headers.get("etag")!);
  }

  /** Names the objects of the image in view. */
  #objectsPath(): string {
    const query = { table: this.#listed, image: this.#opened };
    return `v1/annotations/image?${new URLSearchParams(query)}`;
  }

  #become(drawn: Drawn, etag: string): void {
    this.#drawn = drawn;
    this.#etag = etag;
    this.#chosen = -1;
    this.#draw();
  }

  #go(step: number): void {
    const at = this.#rows.findIndex(({ image }) => image === this.#opened);
    const next = this.#rows[at + step];
    if (next) this.#address.set({ image: next.image });
  }

  #showRows(current: string | undefined): void {
    const shared = sharedFolder(this.#rows);
    byId("table-rows").replaceChildren(...this.#rows.map((row) => {
      const { image, label, split, annotated, drawn } = row;
      const objects = drawn === undefined
        ? annotated ? "annotated" : ""
        : `${drawn} drawn`;
      return element(
        "li",
        {},
        button(image.slice(shared.length), () => this.#address.go({ image }), {
          "aria-current": image === current ? "true" : undefined,
        }),
        element(
          "span",
          {},
          [label, split === "train" ? "" : split, objects].filter(Boolean)
            .join(", "),
        ),
      );
    }));
  }

  /** Adds what was drawn, cut at the edges of the image. */
  #add({ x, y, width, height }: Region): void {
    if (!this.#image) return;
    const clamp = (value: number, most: number) =>
      Math.round(Math.min(Math.max(value, 0), most));
    const left = clamp(x, this.#image.width);
    const top = clamp(y, this.#image.height);
    const object = {
      x: left,
      y: top,
      width: clamp(x + width, this.#image.width) - left,
      height: clamp(y + height, this.#image.height) - top,
    };
    const isBox = width > 0 && height > 0;
    if (isBox && (object.width === 0 || object.height === 0)) return; // beside it
    this.#drawn.add(object);
    this.#chosen = this.#drawn.objects.length - 1;
    this.#draw();
  }

  #addInMiddle(): void {
    const middle = this.#picture?.middle;
    if (!middle) return;
    const isPoint =
      document.querySelector<HTMLInputElement>("input[name=tool]:checked")!
        .value === "point";
    const side = isPoint ? 0 : NEW_SIDE * middle.height;
    const { x, y } = middle;
    this.#add({ x: x - side / 2, y: y - side / 2, width: side, height: side });
    this.#focus();
  }

  #undo(): void {
    this.#drawn.undo();
    this.#chosen = -1;
    this.#draw();
  }

  /** Shows the objects, in the picture and as a list. */
  #draw(): void {
    const { objects, canUndo, isChanged } = this.#drawn;
    this.#picture?.show({
      heat: undefined,
      opacity: 0,
      boxes: [],
      chosen: -1,
      objects,
      chosenObject: this.#chosen,
    });
    byId<HTMLButtonElement>("undo").disabled = !canUndo;
    byId<HTMLButtonElement>("save").disabled = !isChanged;
    byId<HTMLButtonElement>("add").disabled = !this.#image;
    say(
      byId("draw-status"),
      this.#image && objects.length === 0
        ? "No objects yet: draw a box in the picture"
        : "",
    );
    byId("objects").replaceChildren(
      ...objects.map((object, i) => this.#entry(object, i)),
    );
    byId("objects").children[this.#chosen]?.scrollIntoView({
      block: "nearest",
    });
  }

  #entry(object: AnnotatedObject, index: number): HTMLElement {
    const words = wordsOfObject(object);
    const choose = button(words, () => {
      this.#chosen = index;
      this.#draw();
      this.#picture?.flyTo(object);
      this.#focus();
    }, { "aria-current": index === this.#chosen ? "true" : undefined });
    choose.addEventListener("keydown", (event) => this.#change(event, index));
    return element(
      "li",
      {},
      choose,
      button("Delete", () => this.#remove(index), {
        class: "link",
        "aria-label": `Delete ${words}`,
      }),
    );
  }

  /** Moves an object by the arrow keys, or its size if Shift is held. */
  #change(event: KeyboardEvent, index: number): void {
    const { key, shiftKey } = event;
    if (key === "Delete" || key === "Backspace") this.#remove(index);
    const arrow = ARROWS[key];
    const object = this.#drawn.objects[index]!;
    // The parts of an outline are as their file states them.
    if (!arrow || object.polygons) return;
    event.preventDefault();
    const step = Math.max(1, Math.round(STEP * this.#picture!.middle!.height));
    const [x, y] = arrow.map((sign) => sign * step) as [number, number];
    const isPoint = object.width === 0 && object.height === 0;
    this.#drawn.replace(
      index,
      shiftKey && !isPoint
        ? {
          ...object,
          width: Math.max(1, object.width + x),
          height: Math.max(1, object.height + y),
        }
        : { ...object, x: object.x + x, y: object.y + y },
    );
    this.#chosen = index;
    this.#draw();
    this.#focus();
  }

  #remove(index: number): void {
    this.#drawn.remove(index);
    this.#chosen = Math.min(index, this.#drawn.objects.length - 1);
    this.#draw();
    this.#focus();
  }

  /** Focuses the chosen object: the list was made anew. */
  #focus(): void {
    byId("objects").querySelectorAll<HTMLElement>(
      "li > button:first-child",
    )[this.#chosen]?.focus();
  }

  /** Saves the objects of the image in view; tells whether they are saved. */
  #save(): Promise<boolean> {
    // One after the other: each needs the tag that the one before gives.
    return this.#saving = this.#saving.then(() => this.#put());
  }

  async #put(): Promise<boolean> {
    const drawn = this.#drawn, { objects } = drawn;
    if (!drawn.isChanged) return true;
    say(this.#error, "");
    try {
      const response = await this.#api.post(
        this.#objectsPath(),
        { objects },
        { method: "PUT", headers: { "if-match": this.#etag } },
      );
      this.#etag = response.headers.get("etag")!;
      await response.body?.cancel();
    } catch (error) {
      say(this.#error, `Not saved: ${wordsOf(error)} `);
      if (error instanceof Refusal && error.status === CHANGED) {
        this.#error.append(button("Load theirs", () => this.#reload()));
      }
      return false;
    }
    drawn.saved(objects);
    const row = this.#rows.find(({ image }) => image === this.#opened);
    if (row) row.drawn = objects.length;
    this.#showRows(this.#opened);
    if (drawn.isChanged) return await this.#put(); // drawn on meanwhile
    this.#draw();
    say(byId("draw-status"), "Saved");
    return true;
  }

  /** Loads what the server has, in the place of what was drawn here. */
  async #reload(): Promise<void> {
    this.#drawn = new Drawn([]);
    this.#opened = "";
    await this.#open();
  }

  async #download(): Promise<void> {
    const query = new URLSearchParams({ table: this.#listed });
    try {
      if (!await this.#save()) return;
      await this.#api.download(
        `v1/annotations/boxes.csv?${query}`,
        "boxes.csv",
      );
    } catch (error) {
      say(this.#error, wordsOf(error));
    }
  }

  /** Starts a training with the boxes, and shows its job. */
  async #train(): Promise<void> {
    const error = byId("train-error");
    say(error, "");
    const value = (id: string) => byId<HTMLInputElement>(id).value;
    try {
      if (!await this.#save()) return;
      const response = await this.#api.post("v1/train", {
        data: this.#listed,
        name: value("train-name"),
        preset: value("train-preset"),
        features: value("train-features"),
        boxes: true,
        epochs: Number(value("train-epochs")),
        ...(value("train-folds") && { folds: Number(value("train-folds")) }),
        settings: settingsIn(value("train-settings")),
      });
      const { id } = await response.json();
      this.#address.go({ view: "jobs", job: id });
    } catch (failure) {
      say(error, wordsOf(failure));
    }
  }
}

/** The folder that all images lie in, with its last slash. */
function sharedFolder(rows: readonly TableRow[]): string {
  const [first, ...others] = rows.map(({ image }) => image);
  let folder = first?.slice(0, first.lastIndexOf("/") + 1) ?? "";
  while (!others.every((image) => image.startsWith(folder))) {
    folder = folder.slice(0, folder.lastIndexOf("/", folder.length - 2) + 1);
  }
  return folder;
}

function wordsOfObject(
  { x, y, width, height, type, polygons }: AnnotatedObject,
): string {
  const kind = polygons
    ? "Outline"
    : width === 0 && height === 0
    ? "Point"
    : "Box";
  const size = kind === "Point"
    ? ""
    : `${Math.round(width)} × ${Math.round(height)} px `;
  const words = `${kind} ${size}at ${Math.round(x)}, ${Math.round(y)}`;
  return type === undefined ? words : `${words}: ${type}`;
}

/** A name for a model of a table, from that of its folder or its own. */
function nameOf(table: string): string {
  const parts = table.replace(/\.csv$/i, "").split("/");
  const name = parts.at(-2) ?? parts.at(-1)!;
  return `${name.replaceAll(/[^\w-]+/g, "-")}-boxes`;
}

/** Settings of lines KEY=VALUE, as `train --set` has them. */
function settingsIn(text: string): Record<string, unknown> {
  return Object.fromEntries(
    text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
      const [, key, value] = /^([^=]+?)\s*=\s*(.*)$/.exec(line) ?? [];
      if (key === undefined) {
        throw new Error(`Cannot read "${line}" as a setting: write KEY=VALUE`);
      }
      try {
        return [key, JSON.parse(value!)];
      } catch {
        return [key, value]; // a word
      }
    }),
  );
}
