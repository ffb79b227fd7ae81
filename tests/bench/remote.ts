/**
 * Classifies a slide from a web server as from the disk: the share of its bytes
 * that is fetched, and the time against decoding all of it with libvips.
 *
 *     deno run --allow-all tests/bench/remote.ts RUN SLIDE.tif
 *
 * Needs the command `vips` for the last of these.
 *
 * @module
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const [run, slide] = Deno.args;
if (run === undefined || slide === undefined) {
  throw new TypeError("Cannot go on without RUN and SLIDE.tif");
}
const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));

/** Answers range requests with the bytes of the slide. */
async function answer(request: Request): Promise<Response> {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
  if (range === null) return new Response("ranges only", { status: 400 });
  using file = await Deno.open(slide!);
  const { size } = await file.stat();
  const start = Number(range[1]);
  const bytes = new Uint8Array(Math.min(Number(range[2]) + 1, size) - start);
  await file.seek(start, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) {
    done += await file.read(bytes.subarray(done)) ?? bytes.length;
  }
  return new Response(bytes, {
    status: 206,
    headers: {
      etag: '"slide"',
      "content-range": `bytes ${start}-${start + bytes.length - 1}/${size}`,
    },
  });
}

/** Runs a command; returns what it prints and how long it took, s. */
async function timed(
  command: string,
  args: string[],
): Promise<{ text: string; seconds: number }> {
  const started = performance.now();
  const { success, stdout, stderr } = await new Deno.Command(command, { args })
    .output();
  const text = new TextDecoder();
  if (!success) throw new Error(text.decode(stderr));
  const seconds = (performance.now() - started) / 1000;
  return { text: text.decode(stdout), seconds };
}

async function classify(image: string) {
  const { text, seconds } = await timed(Deno.execPath(), [
    ...["run", "--allow-all", MAIN, "classify", "--json"],
    ...["--checkpoint", run!, "--backend", "wasm", image],
  ]);
  const { image: _, timings: __, bytesRead, requests, ...seen } = JSON.parse(
    text,
  );
  return { seen, bytesRead, requests, seconds };
}

const server = Deno.serve({ port: 0, onListen() {} }, answer);
const { port } = server.addr;
const local = await classify(slide);
const remote = await classify(`http://127.0.0.1:${port}/slide.tif`);
await server.shutdown();
assert.deepEqual(remote.seen, local.seen);
const { size } = await Deno.stat(slide);
const share = 100 * remote.bytesRead / size;
console.log(`${local.seen.width} x ${local.seen.height} px, ${size} bytes`);
console.log(`from the disk   ${local.seconds.toFixed(1)} s`);
console.log(
  `from the server ${remote.seconds.toFixed(1)} s, the same result: ${
    share.toFixed(2)
  } % of the bytes in ${remote.requests} requests`,
);
const vips = await timed("vips", ["avg", slide]);
console.log(`vips avg        ${vips.seconds.toFixed(1)} s`);
