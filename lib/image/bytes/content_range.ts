/**
 * Byte range of a web server's response (RFC 9110, section 14.4), parsed
 * leniently: servers format it in many ways.
 *
 * @module
 */

/** Bytes `[start, end)` of a file of `total`. */
export interface ContentRange {
  /** Undefined if the response does not state its range. */
  start?: number;
  end: number;
  /** Undefined if the server does not know it. */
  total?: number;
}

const FORM =
  /^bytes[ =]+(?:\*|(?<first>\d+) *- *(?<last>\d+)) *\/ *(?:\*|(?<all>\d+))$/i;

/** Byte range of a partial response. */
export function contentRange(headers: Headers): ContentRange {
  const header = headers.get("content-range") ?? "";
  const { first, last, all } = FORM.exec(header.trim())?.groups ?? {};
  return {
    ...first !== undefined && { start: Number(first) },
    end: last === undefined ? 0 : Number(last) + 1,
    ...all !== undefined && { total: Number(all) },
  };
}

/** Content length of a full response, if it has one. */
export function contentLength(
  headers: Headers,
): number | undefined {
  const length = headers.get("content-length");
  const isEncoded = headers.has("content-encoding");
  return length === null || isEncoded ? undefined : Number(length);
}
