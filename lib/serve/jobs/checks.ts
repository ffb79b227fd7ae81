/**
 * Checks of what a request for a job names, before the job is queued. Every
 * fault is an {@linkcode InputError} of the request's field.
 *
 * @module
 */
import { ConfigError, DataError, UsageError } from "../../errors.ts";
import { type Config, parseConfig, withSettings } from "../../model/config.ts";
import { withFrozenFeatures } from "../../model/frozen_settings.ts";
import { preset } from "../../model/presets.ts";
import { InputError } from "../errors.ts";
import type { Sources } from "../intake/allowed_sources.ts";
import type { ModelRegistry } from "../models.ts";
import type { Messages } from "../redaction.ts";
import type { BatchRequest, ClassifyNamed, TrainRequest } from "../schemas.ts";
import type { Tables } from "../tables/tables.ts";
import type { BatchJobRequest } from "./batch.ts";
import type { ClassifyJobRequest } from "./classify.ts";
import { foldChoice, type TrainJobRequest } from "./train.ts";

/** Parts of the server that the checks need. */
export interface ChecksOptions {
  models: ModelRegistry;
  sources: Sources;
  tables: Tables;
  messages: Messages;
}

/** Turns requests as sent into those that are queued. */
export class JobChecks {
  readonly #options: ChecksOptions;

  constructor(options: ChecksOptions) {
    this.#options = options;
  }

  /** Checks an image that a request names. */
  async image(
    { uri, path, seed = 0, ...how }: ClassifyNamed,
  ): Promise<ClassifyJobRequest> {
    const { models, sources } = this.#options;
    if ((uri === undefined) === (path === undefined)) {
      throw new InputError(
        "uri",
        'The request names no image: give "uri" or "path"',
      );
    }
    if (path !== undefined) await sources.file(path);
    else await sources.uri(uri!);
    const { name: model } = models.loaded(how.model);
    return { uri, path, seed, ...how, model };
  }

  /** Checks a table of images. */
  async batch(
    { manifest, heatmaps = false, seed = 0, ...how }: BatchRequest,
    signal: AbortSignal,
  ): Promise<BatchJobRequest> {
    const { models, sources, tables } = this.#options;
    const file = await sources.file(manifest);
    await this.#asInput("manifest", () =>
      tables.inTurn(async () => {
        using _table = await tables.openBatch(file, signal);
      }));
    const { name: model } = models.loaded(how.model);
    return { ...how, seed, heatmaps, manifest: file, model };
  }

  /** Checks a model to train. */
  async run(
    request: TrainRequest,
    signal: AbortSignal,
  ): Promise<TrainJobRequest> {
    const { sources, tables } = this.#options;
    const { data, name, seed = 0, boxes = false, folds, protocol } = request;
    const { labelsAsTheyAre } = request;
    if (protocol !== undefined && folds === undefined) throw NO_FOLDS;
    const base = await this.#asInput("config", () => baseConfig(request));
    const config = await this.#asInput(
      "settings",
      () => changed(base, request),
    );
    if (boxes && config.training.dense === null) throw NOT_LEARNED;
    if (boxes && config.target !== "classes") throw NO_CLASSES;
    const file = await sources.file(data);
    const checked: TrainJobRequest = {
      data: file,
      name,
      config,
      seed,
      ...(labelsAsTheyAre && { labelsAsTheyAre }),
      ...(boxes && { boxes }),
      ...(folds !== undefined && { folds }),
      ...(protocol !== undefined && { protocol }),
    };
    const choice = foldChoice(checked);
    await this.#asInput(
      "data",
      () =>
        tables.inTurn(() =>
          tables.checkTraining(file, {
            config,
            choice,
            labelsAsTheyAre,
            signal,
          })
        ),
    );
    return checked;
  }

  /** Turns a fault of a table or a configuration into a fault of `field`. */
  async #asInput<T>(field: string, work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const ofInput = [ConfigError, DataError, UsageError]
        .some((kind) => cause instanceof kind);
      if (!ofInput) throw cause;
      const message = this.#options.messages.of(cause as Error);
      throw new InputError(field, message, { cause });
    }
  }
}

const NOT_LEARNED = new InputError(
  "boxes",
  'Cannot train on annotated objects with training.dense=null, which learns from labels alone: give "features": "scattering", or leave out "boxes"',
);

const NO_CLASSES = new InputError(
  "boxes",
  "Cannot train on annotated objects under a target other than classes: they are of one class each; leave out boxes",
);

const NO_FOLDS = new InputError(
  "protocol",
  'A protocol is one of a cross-validation: give "folds", or leave out "protocol"',
);

function baseConfig(
  { preset: name, config, features }: TrainRequest,
): Config {
  if (config === undefined) {
    const base = preset(name ?? "colon");
    if (features === undefined) return base;
    const alone = { overview: null, closeUp: null }; // those are an encoder's
    return withFrozenFeatures(base, features, null, alone);
  }
  if (features !== undefined) {
    throw new ConfigError(
      "Both features and a configuration were given, which names them already: leave out features",
    );
  }
  if (name === undefined) {
    return withoutFile(parseConfig(config, "the configuration"));
  }
  throw new ConfigError(
    "Both a preset and a configuration were given: give one of them",
  );
}

function changed(
  base: Config,
  { settings = {}, epochs }: TrainRequest,
): Config {
  return withoutFile(withSettings(base, [
    ...Object.entries(settings).map(([key, value]) =>
      `${key}=${JSON.stringify(value)}`
    ),
    ...(epochs === undefined ? [] : [`training.epochs=${epochs}`]),
  ]));
}

/** `config`, if it names no file of this machine: clients must not look for one. */
function withoutFile(config: Config): Config {
  if (config.network.encoder === null) return config;
  throw new ConfigError(
    "Cannot train with network.encoder in a request: train on the command line, and serve the checkpoint",
  );
}
