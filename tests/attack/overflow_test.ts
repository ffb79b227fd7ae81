/** Models whose weights are numbers, and whose results are none. */
import { join } from "node:path";
import { BEST } from "../../lib/model/checkpoint.ts";
import {
  decodeSafeTensors,
  encodeSafeTensors,
} from "../../lib/model/safetensors.ts";
import { folderOfFile } from "../commands/process.ts";
import {
  assertRefused,
  drawModels,
  post,
  withServer,
} from "../serve/served.ts";

const folder = folderOfFile(drawModels);

const NETWORKS = ["a", "b", "f", "g"];

Deno.test("a network that overflows gives no answer, and says so", async () => {
  const models = join(folder, "models");
  const whole = await Deno.readFile(join(models, "first", BEST));
  for (const network of NETWORKS) {
    const content = decodeSafeTensors(whole);
    for (const [name, { data }] of content.tensors) {
      if (name.startsWith(`${network}/`)) data.fill(3e38);
    }
    await Deno.writeFile(
      join(models, `${network}.safetensors`),
      encodeSafeTensors(content),
    );
  }
  await withServer(folder, {}, async (url) => {
    for (const model of NETWORKS) {
      const ask = { path: "images/test_00000.png", model };
      await assertRefused(await post(`${url}/v1/classify`, ask), {
        status: 422,
        error: /^Cannot classify images\/test_00000.png: the network overflows/,
      });
    }
  });
});
