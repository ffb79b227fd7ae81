import assert from "node:assert/strict";
import { join } from "node:path";
import { NatsFolders } from "../../../../lib/serve/jobs/nats/folders.ts";
import { openNats } from "../../../../lib/serve/jobs/nats/connection.ts";
import { withFolder } from "../../../data/folder.ts";
import { NATS_SERVER, startNats } from "./nats_server.ts";

const ignore = NATS_SERVER === undefined;

/** Text of each file in `folder` and below, by its path. */
async function filesIn(folder: string, below = ""): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isFile } of Deno.readDir(join(folder, below))) {
    const path = join(below, name);
    if (isFile) {
      const text = await Deno.readTextFile(join(folder, path));
      files.push(`${path}: ${text.slice(0, 9)}`);
    } else files.push(...await filesIn(folder, path));
  }
  return files.sort();
}

Deno.test({
  name: "a folder is on another host as it was kept, by the last attempt",
  ignore,
  async fn() {
    await using servers = await startNats();
    const options = { url: servers.url, leaseMs: 1000 };
    const nats = [await openNats(options), await openNats(options)];
    const [one, two] = nats.map((each) => new NatsFolders(each));
    await withFolder(async (root) => {
      const [a, b] = [join(root, "a"), join(root, "b")];
      await Deno.mkdir(join(a, "run"), { recursive: true });
      const write = (path: string, text: string) =>
        Deno.writeTextFile(join(a, path), text);
      const large = "0123456789".repeat(50_000); // some chunks
      await write("log", "1");
      await write("run/large", large);
      await write(".log.tmp", "half");
      assert.equal(await one!.keep("job.x", a, 1), true);
      await two!.fetch("job.x", b, (file) => file === "log");
      assert.deepEqual(await filesIn(b), ["log: 1"]);
      await two!.fetch("job.x", b);
      assert.deepEqual(await filesIn(b), ["log: 1", "run/large: 012345678"]);
      assert.equal(await Deno.readTextFile(join(b, "run/large")), large);

      // The next attempt has it; the former can no longer change it.
      await Deno.writeTextFile(join(b, "log"), "2");
      assert.equal(await two!.keep("job.x", b, 2), true);
      await write("log", "1 and more");
      assert.equal(await one!.keep("job.x", a, 1), false);
      await one!.fetch("job.x", a);
      assert.deepEqual(await filesIn(a), [
        ".log.tmp: half",
        "log: 2",
        "run/large: 012345678",
      ]);

      assert.deepEqual(await one!.list("job."), ["job.x"]);
      await one!.sweep();
      await two!.remove("job.x");
      await one!.fetch("job.x", join(root, "c"));
      assert.equal(await one!.keep("job.x", a, 1), true, "a new folder");
    });
    for (const { connection } of nats) await connection.close();
  },
});
