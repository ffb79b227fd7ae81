import assert from "node:assert/strict";
import { ImageError } from "../../../../lib/errors.ts";
import { decodeLzw } from "../../../../lib/image/tiff/decode/lzw.ts";

const CLEAR = 256, END = 257;

/** Codes of 9 bits, the highest bit first. */
function packed(...codes: number[]): Uint8Array {
  const bits = codes.map((code) => code.toString(2).padStart(9, "0")).join("");
  return Uint8Array.from(
    bits.match(/.{1,8}/g)!,
    (byte) => parseInt(byte.padEnd(8, "0"), 2),
  );
}

Deno.test("a code may stand for the string that it begins", () => {
  // "a", "b", "ab" (258), then "aba" (260), which is made by itself.
  const encoded = packed(CLEAR, 97, 98, 258, 260, END);
  assert.equal(
    new TextDecoder().decode(decodeLzw(encoded, 100)),
    "abababa",
  );
  assert.equal(decodeLzw(encoded, 3).length, 3, "no more than asked for");
});

Deno.test("a code that refers to a later entry is an error", () => {
  for (
    const codes of [[CLEAR, 258], [CLEAR, 97, 259], [CLEAR, 97, 98, 300], [
      ...[CLEAR, 97, 98, 258, CLEAR, 258],
    ]]
  ) {
    assert.throws(
      () => decodeLzw(packed(...codes), 100),
      (error: Error) =>
        error instanceof ImageError && /that is not there/.test(error.message),
      `${codes}`,
    );
  }
});
