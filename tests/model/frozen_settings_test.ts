import assert from "node:assert/strict";
import { parseConfig } from "../../lib/model/config.ts";
import {
  objectSizeOf,
  withFrozenFeatures,
} from "../../lib/model/frozen_settings.ts";
import { preset, presetNames } from "../../lib/model/presets.ts";

Deno.test("frozen features of every preset are a valid configuration", () => {
  for (const name of presetNames) {
    const config = withFrozenFeatures(preset(name), "dictionary", null);
    assert.deepEqual(parseConfig(config, name), config);
  }
});

Deno.test("tiny objects have another head than textures, and a support", () => {
  const needle = withFrozenFeatures(preset("needle"), "dictionary", null);
  const colon = withFrozenFeatures(preset("colon"), "dictionary", null);
  assert.equal(objectSizeOf(needle), "tiny");
  assert.equal(objectSizeOf(colon), "common");
  assert.equal(needle.network.components, null);
  assert.equal(needle.training.dense!.dropout, false);
  assert.notEqual(needle.network.evidence.objects, null);
  assert.notEqual(needle.view.support, null);
  assert.equal(colon.network.components, 64);
  assert.equal(colon.training.dense!.dropout, true);
  assert.equal(colon.network.evidence.objects, null);
  assert.equal(colon.view.support, null);
  // The views are the preset's.
  assert.equal(needle.view.scale1, preset("needle").view.scale1);
});

Deno.test("a configuration from before has 64 components, and dropout", () => {
  const config = withFrozenFeatures(preset("colon"), "scattering", null);
  const { components: _, ...network } = config.network;
  const { dropout: __, ...dense } = config.training.dense!;
  const training = { ...config.training, dense };
  assert.deepEqual(
    parseConfig({ ...config, network, training }, "a checkpoint"),
    config,
  );
});
