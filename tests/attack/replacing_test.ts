/** Models that are replaced while they are used. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { BEST } from "../../lib/model/checkpoint.ts";
import {
  decodeSafeTensors,
  encodeSafeTensors,
} from "../../lib/model/safetensors.ts";
import { folderOfFile } from "../commands/process.ts";
import { drawModels, post, withServer } from "../serve/served.ts";

const folder = folderOfFile(drawModels);

/** The same network, another file. */
async function withEpoch(path: string, epoch: number) {
  const content = decodeSafeTensors(await Deno.readFile(path));
  const metadata = JSON.parse(content.metadata.zoomin!);
  content.metadata.zoomin = JSON.stringify({ ...metadata, epoch });
  return encodeSafeTensors(content);
}

Deno.test("a model that is replaced under load fails no request", async () => {
  const best = join(folder, "models", "first", BEST);
  await withServer(folder, {}, async (url) => {
    let isDone = false;
    const versions = new Set<string>();
    const client = async () => {
      while (!isDone) {
        const answer = await post(`${url}/v1/classify`, {
          path: "images/test_00000.png",
        });
        const body = await answer.json();
        assert.equal(answer.status, 200, JSON.stringify(body));
        versions.add(body.model.version);
      }
    };
    const clients = [client(), client(), client(), client()];
    try {
      for (let epoch = 101; epoch < 106; epoch++) {
        await Deno.writeFile(`${best}.new`, await withEpoch(best, epoch));
        await Deno.rename(`${best}.new`, best);
        const seen = versions.size;
        const listed = await fetch(`${url}/v1/models`);
        const { models, faults } = await listed.json();
        assert.equal(models[0].epoch, epoch, JSON.stringify(faults));
        // Clients that end early have failed.
        while (versions.size === seen) {
          await Promise.race([
            new Promise((done) => setTimeout(done, 10)),
            ...clients.map((client) => client.then(() => assert.fail())),
          ]);
        }
      }
    } finally {
      isDone = true;
      await Promise.all(clients);
    }
  });
});
