/**
 * Ends a Worker while a thread of it decodes, and tells that the process lives:
 * run by jpeg_turbo_test.ts as a process, which a fault would end.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";

const SIDE = 6000; // px: it takes some tenths of a second

const noise = crypto.getRandomValues(new Uint8Array(60 * 60 * 3));
const jpeg = await sharp(Buffer.from(noise), {
  raw: { width: 60, height: 60, channels: 3 },
}).resize(SIDE, SIDE).jpeg({ quality: 95 }).toBuffer();
const worker = new Worker(new URL("decoding_worker.ts", import.meta.url), {
  type: "module",
});
const begun = new Promise((resolve) => worker.onmessage = resolve);
worker.postMessage({ bytes: new Uint8Array(jpeg), side: SIDE });
await begun;
await pause(50);
worker.terminate();
await pause(3000); // the thread goes on for less
console.log("alive");
