/**
 * What callers and the log are told of a failure: files are called by their
 * place in the folders of data and of models, and where those lie is nobody's
 * business; an address goes without its query, which may hold a signature.
 *
 * @module
 */
import { sep } from "node:path";
import { NamedError } from "../errors.ts";

const QUERY = /\b(https?:\/\/[^\s"'?]+)\?[^\s"',]*/g;

/** Says errors to callers. */
export class Messages {
  readonly #folders: readonly RegExp[];

  /** @param folders absolute, without symbolic links. */
  constructor(folders: readonly string[]) {
    this.#folders = folders
      .filter((folder) => folder !== sep) // which hides nothing
      .toSorted((a, b) => b.length - a.length) // inner ones first
      .map((folder) =>
        new RegExp(`(?<![\\w/.-])${RegExp.escape(folder + sep)}`, "g")
      );
  }

  /** The message of an error. */
  of(error: Error): string {
    // Written for who sits at the machine; those of errors.ts here, for callers.
    const isOfTheMachine = error instanceof NamedError;
    return isOfTheMachine ? this.told(error.message) : error.message;
  }

  /** A message that may name our files. */
  told(message: string): string {
    return this.#folders.reduce(
      (text, folder) => text.replaceAll(folder, ""),
      message.replaceAll(QUERY, "$1"),
    );
  }
}
