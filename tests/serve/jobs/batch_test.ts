import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type BatchJobRequest,
  batchWork,
} from "../../../lib/serve/jobs/batch.ts";
import { readBatch } from "../../../lib/serve/tables/batch.ts";
import { Tables } from "../../../lib/serve/tables/tables.ts";
import type { Images } from "../../../lib/serve/intake/images.ts";
import type { JobProgress } from "../../../lib/serve/jobs/store.ts";
import { Messages } from "../../../lib/serve/redaction.ts";
import type { ModelRegistry } from "../../../lib/serve/models.ts";
import type { Predictor } from "../../../lib/serve/predictor.ts";

Deno.test("a batch that was cut off continues behind its last whole line", async () => {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-" });
  try {
    const manifest = join(folder, "batch.csv");
    const names = Array.from({ length: 11 }, (_, i) => `${i}.png`);
    await Deno.writeTextFile(manifest, ["image", ...names, ""].join("\n"));
    const results = join(folder, "results.jsonl");
    const line = (source: string) => {
      const error = source === "1.png" ? "it is damaged" : undefined;
      return `${JSON.stringify({ source, error })}\n`;
    };
    for (
      const [kept, cut] of [
        [["0.png", "1.png"], '{"source": "2.p'],
        [[], '{"sou'],
      ] as const
    ) {
      await Deno.writeTextFile(results, kept.map(line).join("") + cut);
      const done: string[] = [];
      const reports: JobProgress[] = [];
      const request: BatchJobRequest = {
        manifest,
        model: "m",
        seed: 0,
        heatmaps: false,
      };
      const work = batchWork({
        models: {
          loaded: () => ({}),
          hold: () => ({ [Symbol.dispose]() {} }),
        } as unknown as ModelRegistry,
        images: {
          named: ({ path, name }: { path: string; name: string }) => ({
            path,
            name,
            async [Symbol.asyncDispose]() {},
          }),
        } as unknown as Images,
        messages: new Messages([]),
        tables: new Tables({ roots: [], hosts: [] }),
        engine: { places: 4 },
        predictor: {
          classifyLater({ name }: { name: string }) {
            done.push(name);
            return Promise.resolve({ result: {} });
          },
        } as unknown as Predictor,
      });
      await work({
        job: {
          id: "j",
          kind: "batch",
          owner: null,
          state: "running",
          request,
          trace: null,
          progress: null,
          attempts: 2,
          losses: 0,
          error: null,
          createdAt: "",
          startedAt: null,
          finishedAt: null,
        },
        folder,
        report: (progress) => reports.push(progress),
        async assertHeld() {},
        signal: new AbortController().signal,
      });
      const failures = kept.length > 0 ? 1 : 0; // of before, too
      assert.deepEqual(reports.at(-1), { done: 11, total: 11, failures });
      assert.deepEqual(done, names.slice(kept.length), "none twice");
      const text = await Deno.readTextFile(results);
      const sources = text.trim().split("\n").map((l) => JSON.parse(l).source);
      assert.deepEqual(sources, names);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("um per px of a batch that are no microscope's are refused by line", async () => {
  const path = await Deno.makeTempFile({ suffix: ".csv" });
  try {
    await Deno.writeTextFile(path, "image,mpp\na,0.5\nb,500\nc,0.001\nd,x\n");
    await assert.rejects(readBatch(path), ({ name, message }: Error) => {
      assert.equal(name, "DataError");
      const faults = message.split("\n").filter((line) => /mpp is/.test(line));
      assert.deepEqual(
        faults.map((line) => /:(\d): mpp is "(.+)":/.exec(line)?.slice(1)),
        [["3", "500"], ["4", "0.001"], ["5", "x"]],
      );
      return true;
    });
  } finally {
    await Deno.remove(path);
  }
});
