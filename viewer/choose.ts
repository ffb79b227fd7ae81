/**
 * Choosing an image: a file that is dropped or picked, one in the folders of
 * data, or a URL.
 *
 * @module
 */
import { type Api, wordsOf } from "./api.ts";
import { button, byId, bytesText, element, say } from "./dom.ts";
import type { Address } from "./state.ts";
import type { Listing } from "./types.ts";

/** Lets the reader choose an image, which becomes that of the address. */
export class Chooser {
  readonly #api: Api;
  readonly #address: Address;
  readonly #error = byId("image-error");
  #folder = "";
  #asked = 0;

  constructor(api: Api, address: Address) {
    this.#api = api;
    this.#address = address;
    const file = byId<HTMLInputElement>("file");
    file.addEventListener("change", () => {
      if (file.files?.[0]) this.#send(file.files[0]);
      file.value = ""; // the same file may be chosen again
    });
    byId("by-url").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#choose({ uri: byId<HTMLInputElement>("url").value });
    });
    this.#acceptDrops();
  }

  /** Lists a folder of data; the one shown if omitted. */
  async list(folder = this.#folder): Promise<void> {
    this.#folder = folder;
    const asked = ++this.#asked;
    const entries = byId("data-entries"), path = byId("data-path");
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
    if (entries.length === 0) {
      return [
        element(
          "li",
          { class: "muted" },
          this.#folder === ""
            ? "No images: start the server with --data-root FOLDER"
            : "No images in this folder",
        ),
      ];
    }
    const { path: shown } = this.#address.now;
    const rows = entries.map(({ name, path, kind, bytes }) =>
      element(
        "li",
        {},
        button(
          kind === "folder" ? `${name}/` : name,
          () => kind === "folder" ? this.list(path) : this.#choose({ path }),
          { "aria-current": path === shown ? "true" : undefined },
        ),
        element("span", {}, kind === "folder" ? "" : bytesText(bytes)),
      )
    );
    return isCut
      ? [...rows, element("li", { class: "muted" }, "and more: give a path")]
      : rows;
  }

  #choose(name: { path?: string; uri?: string; upload?: string }): void {
    const { path = "", uri = "", upload = "" } = name;
    say(this.#error, "");
    this.#address.go({ path, uri, upload, x: 0, y: 0, zoom: 0, view: "look" });
    for (const row of byId("data-entries").querySelectorAll("button")) {
      row.toggleAttribute("aria-current", false);
    }
    if (path) this.list();
  }

  async #send(file: File): Promise<void> {
    say(this.#error, "");
    say(byId("status"), `Sending ${file.name}, ${bytesText(file.size)}…`);
    try {
      const response = await this.#api.send("v1/uploads", {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: file,
      });
      const { upload } = await response.json();
      this.#choose({ upload });
    } catch (error) {
      say(byId("status"), "");
      say(this.#error, wordsOf(error));
    }
  }

  #acceptDrops(): void {
    const over = (is: boolean) => document.body.classList.toggle("drag", is);
    addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    addEventListener("dragleave", ({ relatedTarget }) => {
      if (relatedTarget === null) over(false); // left the window
    });
    addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const [file] = event.dataTransfer?.files ?? [];
      if (file) this.#send(file);
    });
  }
}
