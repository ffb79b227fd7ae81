/**
 * Worker of `classify` and `eval`: one image at a time.
 *
 * @module
 */
import {
  type ClassifierSetup,
  type ImageTask,
  type Outcome,
  startClassifier,
} from "./classifier.ts";
import { serveTasks } from "../workers/pool.ts";

serveTasks<ClassifierSetup, ImageTask, Outcome>((setup) => {
  const classify = startClassifier(setup);
  return Promise.resolve(async function classifyOne(task, { signal }) {
    const [outcome] = await Array.fromAsync(classify([task], signal));
    return outcome!;
  });
});
