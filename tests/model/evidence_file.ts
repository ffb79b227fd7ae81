/** A checkpoint of the head `evidence`, untrained, for processes to use. */
import { startEngine } from "../../lib/engine/select.ts";
import { writeCheckpoint } from "../../lib/model/checkpoint.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { toyModel } from "./toy.ts";

/** Writes it to `path`. */
export async function writeEvidenceModel(path: string): Promise<void> {
  await startEngine("wasm");
  const model = toyModel({ network: { head: "evidence" } });
  model.config.training.contrastiveFrom = null;
  await writeCheckpoint(path, {
    model,
    epoch: 1,
    seed: 1,
    metrics: {},
    trainer: null,
    trainerTensors: new Map(),
  });
  disposeParameters(model.parameters);
}
