import assert from "node:assert/strict";
import { join } from "node:path";
import { startEngine } from "../../../lib/engine/select.ts";
import { describeAdapter, findAdapter } from "../../../lib/engine/webgpu.ts";
import { startFasterServing } from "../../../lib/serve/engine/choice.ts";
import { drawAndTrain, folderOfFile } from "../../commands/process.ts";
import { ignoreGpu } from "../../engines.ts";

const folder = folderOfFile(drawAndTrain);

Deno.test({
  name: "a server with a GPU takes the engine that is faster with a model",
  ignore: ignoreGpu,
  async fn() {
    const adapter = describeAdapter((await findAdapter())!);
    const trial = { file: join(folder, "engines.json"), workers: 2 };
    // Beside the run is its data set, which is no model.
    const start = (models: string) =>
      startFasterServing({ ...trial, models }, adapter);
    const first = await start(folder);
    assert.match(first.reason, /by 2 workers, .* by a few images on each/);
    const second = await start(folder);
    assert.equal(second.backend, first.backend);
    assert.match(second.reason, /, as measured before/);
    // Without a model there is nothing to time.
    const { reason } = await start(join(folder, "set"));
    assert.equal(reason, (await startEngine("auto")).reason);
  },
});
