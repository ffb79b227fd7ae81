/**
 * The folders of data as a list, in which one goes up and down.
 *
 * @module
 */
import { type Api, wordsOf } from "./api.ts";
import { button, bytesText, element, say } from "./dom.ts";
import type { Listing } from "./types.ts";

type Entry = Listing["entries"][number];

/** Where a list stands, and what it is for. */
export interface FolderOptions {
  /** The way to the folder, as links. */
  path: HTMLElement;
  /** Its entries. */
  entries: HTMLElement;
  /** True for the file that is shown. */
  isCurrent: (entry: Entry) => boolean;
  /** Called with a file that was chosen. */
  onChoose: (entry: Entry) => void;
}

/** A list of one folder at a time. */
export class Folders {
  readonly #api: Api;
  readonly #options: FolderOptions;
  #folder = "";
  #asked = 0;

  constructor(api: Api, options: FolderOptions) {
    this.#api = api;
    this.#options = options;
  }

  /** Lists a folder of data; the one shown if omitted. */
  async list(folder = this.#folder): Promise<void> {
    this.#folder = folder;
    const asked = ++this.#asked;
    const { path, entries } = this.#options;
    try {
      const query = new URLSearchParams({ folder });
      const listing = await this.#api.get<Listing>(`v1/data?${query}`);
      if (asked !== this.#asked) return;
      path.replaceChildren(...this.#crumbs(folder));
      entries.replaceChildren(...this.#rows(listing));
    } catch (error) {
      if (asked === this.#asked) say(path, wordsOf(error));
    }
  }

  #crumbs(folder: string): Node[] {
    if (folder === "") return [];
    const parts = folder.split("/");
    return ["All", ...parts].flatMap((name, i) => [
      button(name, () => this.list(parts.slice(0, i).join("/")), {
        class: "link",
      }),
      document.createTextNode(i < parts.length ? " / " : ""),
    ]);
  }

  #rows({ entries, isCut }: Listing): Node[] {
    const { isCurrent, onChoose } = this.#options;
    const muted = (words: string) => element("li", { class: "muted" }, words);
    if (entries.length === 0) {
      return [muted(
        this.#folder === ""
          ? "No images: start the server with --data-root FOLDER"
          : "No images in this folder",
      )];
    }
    const rows = entries.map((entry) => {
      const { name, path, kind, bytes } = entry;
      const isFolder = kind === "folder";
      return element(
        "li",
        {},
        button(
          isFolder ? `${name}/` : name,
          () => isFolder ? this.list(path) : onChoose(entry),
          { "aria-current": isCurrent(entry) ? "true" : undefined },
        ),
        element("span", {}, isFolder ? "" : bytesText(bytes)),
      );
    });
    return isCut ? [...rows, muted("and more: give a path")] : rows;
  }
}
