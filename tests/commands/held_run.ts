/**
 * Holds a run in its third epoch until Ctrl-C: its log tells of the epoch, its
 * last checkpoint does not yet. Loaded before the program (`--preload`).
 *
 * @module
 */
const SAVES = 1 + 2; // at the start, and of the epochs before

const stopped = Promise.withResolvers<void>();
Deno.addSignalListener("SIGINT", stopped.resolve);

const { rename } = Deno;
let saves = 0;

Deno.rename = async (from, to) => {
  if (`${to}`.endsWith("last.safetensors") && ++saves > SAVES) {
    const alive = setInterval(() => {}, 1000); // a wait alone ends the process
    await stopped.promise;
    clearInterval(alive);
  }
  await rename(from, to);
};

export {};
