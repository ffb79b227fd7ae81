/**
 * Choosing an image: a file that is dropped or picked, one in the folders of
 * data, or a URL.
 *
 * @module
 */
import { type Api, wordsOf } from "./api.ts";
import { byId, bytesText, say } from "./dom.ts";
import { Folders } from "./folders.ts";
import type { Address } from "./state.ts";

/** Lets the reader choose an image, which becomes that of the address. */
export class Chooser {
  readonly #api: Api;
  readonly #address: Address;
  readonly #error = byId("image-error");
  readonly #folders: Folders;

  constructor(api: Api, address: Address) {
    this.#api = api;
    this.#address = address;
    this.#folders = new Folders(api, {
      path: byId("data-path"),
      entries: byId("data-entries"),
      isCurrent: ({ path }) => path === address.now.path,
      onChoose: ({ path, kind }) =>
        kind === "table"
          ? address.go({ view: "draw", table: path, image: "" })
          : this.#choose({ path }),
    });
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
  async list(folder?: string): Promise<void> {
    await this.#folders.list(folder);
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
