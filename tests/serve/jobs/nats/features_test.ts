/** Frozen features that hosts share: computed by one, fetched by the others. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type FeatureCache,
  featureKey,
} from "../../../../lib/encoder/cache.ts";
import { SharedFeatureCache } from "../../../../lib/encoder/shared_cache.ts";
import { NatsFeatures } from "../../../../lib/serve/jobs/nats/features.ts";
import { Objm } from "@nats-io/obj";
import { folderOfFile } from "../../../commands/process.ts";
import { withFolder } from "../../../data/folder.ts";
import {
  drawModels,
  ended,
  type JobDocument,
  post,
  serve,
} from "../../served.ts";
import { BUCKET, keptFeatures, keysIn, withNats } from "./kept_features.ts";
import { host } from "./hosts.ts";
import { NATS_SERVER, type NatsServers, startNats } from "./nats_server.ts";

const ignore = NATS_SERVER === undefined;
const folder = folderOfFile(drawModels);
const STREAM = `OBJ_${BUCKET}`;

/** The cache of a host, and how often it computed features. */
interface Host extends AsyncDisposable {
  cache: FeatureCache;
  computed(): number;
  remarks: readonly string[];
}

async function hostAt({ url }: NatsServers, folder: string): Promise<Host> {
  const remarks: string[] = [];
  const remark = (text: string) => void remarks.push(text);
  const store = await NatsFeatures.open({ url }, remark);
  assert.ok(store, remarks.join());
  let computed = 0;
  const place = { folder, maxBytes: 1e9 };
  const cache = new SharedFeatureCache(place, { store, place: url, remark });
  const { features } = cache;
  cache.features = (source, make) =>
    features.call(cache, source, () => {
      computed++;
      return make();
    });
  return {
    cache,
    computed: () => computed,
    remarks,
    [Symbol.asyncDispose]: () => store.close(),
  };
}

/** Features of image `i`, of several chunks. */
function sourceOf(i: number) {
  return { image: `image-${i}`, encoder: "e", places: [{ x: 0, y: 0 }] };
}

function featuresOf(i: number): Promise<Float32Array> {
  return Promise.resolve(
    Float32Array.from({ length: 150_000 }, (_, j) => (i + j) % 100 / 8),
  );
}

function read({ cache }: Host, i: number): Promise<Float32Array> {
  return cache.features(sourceOf(i), () => featuresOf(i));
}

Deno.test({
  name: "what one host has computed another fetches, unless it is damaged",
  ignore,
  async fn() {
    await using servers = await startNats();
    await withFolder(async (folder) => {
      await using one = await hostAt(servers, join(folder, "one"));
      const made = await Promise.all([0, 1, 2].map((i) => read(one, i)));
      assert.equal(one.computed(), 3);
      await using two = await hostAt(servers, join(folder, "two"));
      const fetched = await Promise.all([0, 1, 2].map((i) => read(two, i)));
      assert.equal(two.computed(), 0);
      assert.deepEqual(fetched, made);
      assert.deepEqual(
        await filesIn(join(folder, "two")),
        await filesIn(join(folder, "one")),
      );

      await withNats(servers, async ({ js, jsm }) => {
        const objects = await new Objm(js).open(BUCKET);
        const { nuid } = (await objects.info(featureKey(sourceOf(0))))!;
        const next_by_subj = `$O.${BUCKET}.C.${nuid}`;
        const first = { seq: 1, next_by_subj };
        const chunk = await jsm.streams.getMessage(STREAM, first);
        await jsm.streams.deleteMessage(STREAM, chunk!.seq);
        await objects.putBlob(
          { name: featureKey(sourceOf(1)) },
          new TextEncoder().encode("ZMFC"),
        );
      });
      for (const [name, computed] of [["three", 2], ["four", 0]] as const) {
        await using other = await hostAt(servers, join(folder, name));
        const found = await Promise.all([0, 1, 2].map((i) => read(other, i)));
        assert.deepEqual(found, made);
        assert.equal(other.computed(), computed, "what was damaged, once");
        assert.deepEqual(other.remarks, []);
      }
    });
  },
});

async function filesIn(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name } of Deno.readDir(folder)) {
    const bytes = await Deno.readFile(join(folder, name));
    const hash = await crypto.subtle.digest("SHA-256", bytes);
    files[name] = new Uint8Array(hash).toHex();
  }
  return files;
}

Deno.test({
  name: "the oldest features make room for new ones",
  ignore,
  async fn() {
    await using servers = await startNats();
    await withFolder(async (folder) => {
      await using one = await hostAt(servers, join(folder, "one"));
      const maxBytes = 2e6; // six of 300 kB, and some
      await withNats(servers, async ({ jsm }) => {
        const { config } = await jsm.streams.info(STREAM);
        assert.ok(config.max_bytes! >= 1e8);
        await jsm.streams.update(STREAM, { ...config, max_bytes: maxBytes });
      });
      for (let i = 0; i < 12; i++) await read(one, i);
      await withNats(servers, async ({ jsm }) => {
        const { state } = await jsm.streams.info(STREAM);
        assert.ok(state.bytes <= maxBytes);
      });
      await using two = await hostAt(servers, join(folder, "two"));
      for (const i of [11, 10, 9, 8]) await read(two, i);
      assert.equal(two.computed(), 0);
      for (const i of [0, 1]) {
        assert.deepEqual(await read(two, i), await featuresOf(i));
      }
      assert.equal(two.computed(), 2);
      assert.deepEqual([...one.remarks, ...two.remarks], []);
    });
  },
});

Deno.test({
  name: "without NATS features are computed, and it is said once",
  ignore,
  async fn() {
    await using servers = await startNats();
    await withFolder(async (folder) => {
      await using one = await hostAt(servers, folder);
      await servers.nodes[0]!.kill();
      for (const i of [0, 1]) {
        assert.deepEqual(await read(one, i), await featuresOf(i));
      }
      assert.equal(one.computed(), 2);
      assert.equal(one.remarks.length, 1);
      assert.match(one.remarks[0]!, /^Features are not shared .*computed: /);
    });
  },
});

/** Folder of the features of a host. */
function featuresOfHost(models: string): string {
  return join(folder, models, ".server", "features");
}

/** Trains folds on features, and returns the result without its times. */
async function foldsOn(url: string): Promise<unknown> {
  const response = await post(`${url}/v1/train`, {
    data: "manifest.csv",
    name: "features",
    preset: "needle",
    features: "scattering",
    epochs: 2,
    settings: {
      "view.samples": 4,
      "evaluation.samples": 4,
      "training.validation": 0,
      "training.dense.copies": 0,
    },
    folds: 2,
    protocol: "held-out",
  });
  const { id, ...job }: JobDocument = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  const { state, error } = await ended(url, id, 300_000);
  assert.equal(state, "succeeded", `${error}`);
  const result = await fetch(`${url}/v1/jobs/${id}/result`);
  return JSON.parse(
    await result.text(),
    (name, value) => name === "seconds" ? 0 : value,
  );
}

Deno.test({
  name: "folds on another host compute no features that a host has computed",
  ignore,
  async fn() {
    await using servers = await startNats();
    let first: unknown;
    let made: Record<string, string>;
    {
      await using one = await host(folder, "models", servers, "--workers", "2");
      first = await foldsOn(one.url);
      made = await keptFeatures(servers);
      assert.ok(Object.keys(made).length >= 12); // one an image, some for their views
      assert.deepEqual(
        await keysIn(featuresOfHost("models")),
        Object.keys(made),
      );
    }
    await using two = await host(folder, "two", servers);
    const second = await foldsOn(two.url);
    assert.deepEqual(await keptFeatures(servers), made);
    assert.deepEqual(await keysIn(featuresOfHost("two")), Object.keys(made));
    assert.deepEqual(second, first);
    await Deno.mkdir(join(folder, "alone"));
    await using alone = await serve(
      folder,
      ...["--models", "alone", "--data-root", "set", "--workers", "1"],
    );
    assert.deepEqual(await foldsOn(alone.url), first);
  },
});
