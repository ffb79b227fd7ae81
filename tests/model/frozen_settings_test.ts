import assert from "node:assert/strict";
import { parseConfig } from "../../lib/model/config.ts";
import {
  hasCloseUp,
  hasOverview,
  objectSizeOf,
  withFrozenFeatures,
} from "../../lib/model/frozen_settings.ts";
import {
  gridSize,
  gridView,
  locationCount,
} from "../../lib/model/look/location_grid.ts";
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
  // As many places as draws: all that may hold an object can be looked at.
  assert.equal(needle.view.support, needle.evaluation.samples);
  assert.equal(colon.network.components, 64);
  assert.equal(colon.training.dense!.dropout, true);
  assert.equal(colon.network.evidence.objects, null);
  assert.equal(colon.view.support, null);
  // The views are the preset's.
  assert.equal(needle.view.scale1, preset("needle").view.scale1);
});

Deno.test("road signs have a finer grid, and attention by the encoder", () => {
  const config = preset("traffic-signs");
  assert.equal(objectSizeOf(config), "large");
  assert.deepEqual([config, preset("needle")].map(hasOverview), [true, false]);
  const signs = withFrozenFeatures(config, "scattering", null);
  const frame = gridSize({ width: 1360, height: 800 }, gridView(signs.view));
  assert.equal(locationCount(frame), 4250);
  assert.ok(signs.training.dense!.maxLocations >= 4250);
  assert.ok(signs.training.dense!.strongest > 0);
  assert.equal(signs.training.dense!.dropout, false);
  assert.deepEqual([config, preset("needle")].map(hasCloseUp), [true, false]);
});

Deno.test("a configuration from before has 64 components, dropout, no overview, and no close-ups", () => {
  const config = withFrozenFeatures(preset("colon"), "scattering", null);
  const { components: _, overview: __, closeUp: ___, ...network } =
    config.network;
  const { maxLocations, copies, locations } = config.training.dense!;
  const dense = { maxLocations, copies, locations };
  const training = { ...config.training, dense };
  assert.deepEqual(
    parseConfig({ ...config, network, training }, "a checkpoint"),
    config,
  );
});
