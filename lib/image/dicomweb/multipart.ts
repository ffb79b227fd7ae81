/**
 * The first part of a multipart answer (RFC 2046, section 5.1).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { NetworkError } from "../../errors.ts";

/**
 * The bytes of the first part; those of the whole answer if it has no parts.
 *
 * @throws {NetworkError} If it is cut off.
 */
export function firstPart(
  contentType: string | null,
  bytes: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  if (!/^\s*multipart\//i.test(contentType ?? "")) return bytes;
  const [, quoted, plain] =
    /;\s*boundary=(?:"([^"]+)"|([^;\s"]+))/i.exec(contentType!) ?? [];
  const boundary = quoted ?? plain;
  const start = boundary === undefined ? -1 : find(bytes, `--${boundary}`, 0);
  const head = start < 0 ? -1 : find(bytes, "\r\n\r\n", start);
  const end = head < 0 ? -1 : find(bytes, `\r\n--${boundary}`, head + 4);
  if (end < 0) {
    throw new NetworkError("the server sent a multipart answer without an end");
  }
  return bytes.slice(head + 4, end);
}

/** Place of `text` in `bytes` from `from` on, or -1. */
function find(bytes: Uint8Array, text: string, from: number): number {
  const { buffer, byteOffset, length } = bytes;
  return Buffer.from(buffer, byteOffset, length).indexOf(text, from, "latin1");
}
