/**
 * Redacts the messages that callers and the log get: files are named by their
 * place in the folders of data and of models, whose own paths stay hidden; URLs
 * lose their query, which may hold a signature, and their user and password.
 *
 * @module
 */
import { sep } from "node:path";
import { NamedError } from "../errors.ts";

const URLS = /\b(https?:\/\/)(?:[^\s"'\/?#@]*@)?([^\s"'?]*)(?:\?[^\s"',]*)?/gi;

/** `text` in which URLs have no queries and no passwords. */
export function withoutQueries(text: string): string {
  return text.replaceAll(URLS, "$1$2");
}

/** Makes messages for callers. */
export class Messages {
  readonly #folders: readonly RegExp[];

  /** @param folders absolute, without symbolic links. */
  constructor(folders: readonly string[]) {
    this.#folders = folders
      .filter((folder) => folder !== sep) // it would hide nothing
      .toSorted((a, b) => b.length - a.length) // inner ones first
      .map((folder) =>
        new RegExp(`(?<![\\w/.-])${RegExp.escape(folder + sep)}`, "g")
      );
  }

  /** Redacted message of an error. */
  of(error: Error): string {
    // These name local paths; the errors of ./errors.ts are written for
    // callers.
    const isOfTheMachine = error instanceof NamedError;
    return isOfTheMachine ? this.told(error.message) : error.message;
  }

  /** Redacts a message that may name local files. */
  told(message: string): string {
    return this.#folders.reduce(
      (text, folder) => text.replaceAll(folder, ""),
      withoutQueries(message),
    );
  }
}
