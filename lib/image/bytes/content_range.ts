/**
 * Which bytes of a file an answer of a web server holds (RFC 9110, section
 * 14.4), read with patience: servers spell it as they like.
 *
 * @module
 */

/** Bytes `[start, end)` of a file of `total`. */
export interface ContentRange {
  /** Undefined where the answer does not say which bytes it holds. */
  start?: number;
  end: number;
  /** Undefined where the server does not know. */
  total?: number;
}

const FORM =
  /^bytes[ =]+(?:\*|(?<first>\d+) *- *(?<last>\d+)) *\/ *(?:\*|(?<all>\d+))$/i;

/** The bytes that a partial answer holds. */
export function contentRange({ headers }: Response): ContentRange {
  const header = headers.get("content-range") ?? "";
  const { first, last, all } = FORM.exec(header.trim())?.groups ?? {};
  return {
    ...first !== undefined && { start: Number(first) },
    end: last === undefined ? 0 : Number(last) + 1,
    ...all !== undefined && { total: Number(all) },
  };
}

/** The bytes of an answer that holds all of a file, where it names them. */
export function contentLength({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  const isEncoded = headers.has("content-encoding");
  return length === null || isEncoded ? undefined : Number(length);
}
