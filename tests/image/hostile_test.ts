/**
 * Every file of public corpora of broken images gives pixels or a named error,
 * within bounded time and memory, and the process survives.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { ImageError } from "../../lib/errors.ts";
import { openImage } from "../../lib/image/open.ts";
import { sharedData } from "../shared_data.ts";
import { within } from "../waiting.ts";
import { readAll } from "./pictures.ts";

const MAX_BYTES = 2 ** 30; // by which the process may grow

const hostile = sharedData("hostile");
const corpora = hostile === undefined
  ? []
  : [...Deno.readDirSync(hostile)].filter((entry) => entry.isDirectory);

Deno.test({
  name: "hostile files are there",
  ignore: hostile === undefined,
  fn: () => assert.ok(corpora.length > 0),
});

for (const { name } of corpora) {
  Deno.test(`hostile/${name}: a result or an ImageError`, async () => {
    const before = Deno.memoryUsage().rss;
    for (const path of filesIn(join(hostile!, name))) {
      await within(path, openAndRead(path));
    }
    assert.ok(Deno.memoryUsage().rss - before < MAX_BYTES);
  });
}

async function openAndRead(path: string): Promise<void> {
  try {
    const image = await openImage(path);
    const { data } = await readAll(image);
    assert.equal(data.length, image.width * image.height * 4, path);
    image.close();
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    assert.ok(error.message.includes(path), error.message);
  }
}

function* filesIn(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    if (isDirectory) yield* filesIn(path);
    else yield path;
  }
}
